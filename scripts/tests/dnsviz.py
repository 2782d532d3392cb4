#!/usr/bin/env python3
"""DNSViz about names of a node: present, of every denial, wildcards, aliases, and delegations to a signed child on NSD and
to an unsigned one. It starts from the node's key, and must find no error and no warning, and every status secure. Needs
Debian's dnsviz, nsd and ldnsutils."""

import json
import os
import shutil
import subprocess
import time

from common import Net, main, no_panics, parser, require, until, workspace
from dnssec import SIGNED
from harness.net import free_base_port
from harness.wallet import Wallet
from others import nsd, running

CHILD = "kid.signed.p2p"
RECORDS = SIGNED + f"""\
kid 300 IN NS ns.{CHILD}.
ns.kid 300 IN A 127.0.0.1
"""
# What DNSViz shall call each name: the statuses of its answers, and of what is denied.
SECURE = ["p2p", "signed.p2p", "www.signed.p2p", "x.wild.signed.p2p", "a.b.c.signed.p2p", "b.c.signed.p2p", "a.b.c.old.signed.p2p",
          "nobody.p2p", "deeply.below.nobody.p2p", "no.signed.p2p", CHILD, f"www.{CHILD}", f"nothing.{CHILD}"]

GOOD = {"SECURE", "VALID", "NOERROR", "NXDOMAIN"}


def tool(*command, cwd=None, seconds=120, **environment):
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=seconds, check=False, cwd=cwd,
        env={**os.environ, **environment},
    )
    require(done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout


def child_zone(directory):
    """A signed zone; its DS records relative to the ledger name."""
    source = directory / CHILD
    source.write_text(f"$ORIGIN {CHILD}.\n@ 300 IN SOA ns host 1 3600 900 604800 300\n@ 300 IN NS ns\nns 300 IN A 127.0.0.1\nwww 300 IN A 192.0.2.99\n@ 300 IN A 192.0.2.98\n")
    base = tool("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", CHILD, cwd=directory).strip()
    # Not from this very second: DNSViz warns of signatures that a wrong clock would take for future ones.
    tool("ldns-signzone", "-i", int(time.time()) - 7_200, source, base, cwd=directory)
    ds = tool("ldns-key2ds", "-n", "-2", directory / f"{base}.key", cwd=directory).split("\n")[0].split()
    return directory / f"{CHILD}.signed", f"kid 300 IN DS {' '.join(ds[ds.index('DS') + 1 :])}\n"


def mended(directory):
    """Debian 12's dnsviz asks its graph library for a module that the packaged version no longer has."""
    place = directory / "mended"
    place.mkdir()
    (place / "sitecustomize.py").write_text(
        "import types\ntry:\n    import pygraphviz\n    pygraphviz.release = types.SimpleNamespace(version=pygraphviz.__version__)\n"
        "except ImportError:\n    pass\n"
    )
    return str(place)


def complaints(value, path=""):
    """Every error and warning in DNSViz's assessment, with where it stands."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("errors", "warnings"):
                yield from (f"{path}: {key[:-1]}: {each.get('description', each)}" for each in inner)
            else:
                yield from complaints(inner, f"{path}/{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from complaints(inner, path)


def statuses(value):
    """Every status of an answer or of a delegation."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "status" and isinstance(inner, str):
                yield inner
            else:
                yield from statuses(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from statuses(inner)


def run(args):
    for name in ("dnsviz", "nsd", "ldns-signzone", "ldns-keygen", "ldns-key2ds"):
        require(shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin"), f"{name} is not installed; try: scripts/conformance dnsviz")
    with workspace(args, "dnsviz") as directory, Net.plan(1, directory) as net:
        zonefile, ds = child_zone(directory)
        net.up()
        node = net[1]
        operation = Wallet(directory / "wallet", node).create().register("signed", RECORDS + ds, wait=True)
        require(operation["state"] == "done", f"registration ended as {operation['state']}: {operation.get('error')}")
        until(lambda: node.dig("signed.p2p"), 10, "see the name in DNS")
        host, port = node.dns.rsplit(":", 1)
        keys = directory / "trusted.key"
        keys.write_text("p2p. 3600 IN DNSKEY " + tool("dig", f"@{host}", "-p", port, "+short", "DNSKEY", "p2p"))
        child_port = free_base_port(1) + 9
        child = nsd(directory, [f"127.0.0.1@{child_port}"], {CHILD: f"zonefile: {zonefile}"})
        there = ["dig", "@127.0.0.1", "-p", str(child_port), "+short", "+time=1", "+tries=1", f"www.{CHILD}"]
        is_ready = lambda: "99" in subprocess.run(there, capture_output=True, text=True, check=False).stdout
        with running(child, directory / "nsd.out", is_ready):
            probe = directory / "probe.json"
            tool("dnsviz", "probe", "-4", "-d", "0", "-A", "-a", "p2p", "-x", f"p2p+:ns.nic.p2p=127.0.0.1:{port}",
                 "-x", f"{CHILD}:ns.{CHILD}=127.0.0.1:{child_port}", "-o", probe, *SECURE, seconds=300)
        found, seen, path = [], 0, mended(directory)
        for name in SECURE:
            assessed = directory / "grok.json"
            tool("dnsviz", "grok", "-P", "-l", "info", "-t", keys, "-r", probe, "-o", assessed, name, PYTHONPATH=path)
            judged = json.loads(assessed.read_text() or "{}")
            words = list(statuses(judged))
            seen += len(words)
            require(words, f"DNSViz says nothing about {name}")
            found += [f"{name}: {each}" for each in complaints(judged)]
            found += [f"{name}: status {word}" for word in set(words) - GOOD]
        # What finds nothing wrong with another key looks at nothing.
        other = directory / "other.key"
        text = keys.read_text().split()
        other.write_text(" ".join([*text[:-1], text[-1][::-1].lstrip("=") + "=" * text[-1].count("=")]) + "\n")
        tool("dnsviz", "grok", "-P", "-l", "info", "-t", other, "-r", probe, "-o", assessed, "signed.p2p", PYTHONPATH=path)
        judged = json.loads(assessed.read_text() or "{}")
        require(list(complaints(judged)) or set(statuses(judged)) - GOOD, "DNSViz is content with a key that is not the node's")
        (directory / "print").write_text(tool("dnsviz", "print", "-P", "-t", keys, "-r", probe, *SECURE, PYTHONPATH=path))
        require(not found, f"{len(found)} complaints:\n" + "\n".join(sorted(set(found))))
        no_panics(net)
        return f"{len(SECURE)} names, {seen} statuses, no error and no warning"


if __name__ == "__main__":
    main(run, parser(__doc__).parse_args())
