#!/usr/bin/env python3
"""DNSViz about names of a node: present, of every denial, wildcards, aliases, and delegations to a signed child on NSD and
to an unsigned one. It starts from the node's key, and must find no error and no warning, and every status secure. Needs
Debian's dnsviz, nsd and ldnsutils."""

import json
import os
import shutil
import subprocess

from common import Net, main, no_panics, parser, require, until, workspace
from dnssec import SIGNED
from harness.net import free_base_port
from harness.wallet import Wallet
from zonemaster import running

CHILD = "kid.signed.p2p"
RECORDS = SIGNED + f"""\
kid 300 IN NS ns.{CHILD}.
ns.kid 300 IN A 127.0.0.1
"""
# What DNSViz shall call each name: the statuses of its answers, and of what is denied.
SECURE = ["p2p", "signed.p2p", "www.signed.p2p", "x.wild.signed.p2p", "a.b.c.signed.p2p", "b.c.signed.p2p", "a.b.c.old.signed.p2p",
          "nobody.p2p", "deeply.below.nobody.p2p", "no.signed.p2p", CHILD, f"www.{CHILD}", f"nothing.{CHILD}"]


def tool(*command, cwd=None, seconds=120):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=seconds, check=False, cwd=cwd)
    require(done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout


def child_zone(directory):
    """A signed zone; its DS records relative to the ledger name."""
    source = directory / CHILD
    source.write_text(f"$ORIGIN {CHILD}.\n@ 300 IN SOA ns host 1 3600 900 604800 300\n@ 300 IN NS ns\nns 300 IN A 127.0.0.1\nwww 300 IN A 192.0.2.99\n@ 300 IN A 192.0.2.98\n")
    base = tool("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", CHILD, cwd=directory).strip()
    tool("ldns-signzone", source, base, cwd=directory)
    ds = tool("ldns-key2ds", "-n", "-2", directory / f"{base}.key", cwd=directory).split("\n")[0].split()
    return directory / f"{CHILD}.signed", f"kid 300 IN DS {' '.join(ds[ds.index('DS') + 1 :])}\n"


def nsd_conf(directory, port, zonefile):
    conf = directory / "nsd.conf"
    conf.write_text(f"""
server:
    ip-address: 127.0.0.1
    port: {port}
    username: ""
    chroot: ""
    zonesdir: "{directory}"
    database: ""
    pidfile: "{directory}/nsd.pid"
    xfrdfile: "{directory}/xfrd.state"
    zonelistfile: "{directory}/zone.list"
    xfrdir: "{directory}"
    logfile: "{directory}/nsd.log"
remote-control:
    control-enable: no
zone:
    name: "{CHILD}"
    zonefile: "{zonefile}"
""")
    return conf


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
        conf = nsd_conf(directory, child_port, zonefile)
        with running(["nsd", "-d", "-c", str(conf)], directory / "nsd.out"):
            until(lambda: "99" in tool("dig", "@127.0.0.1", "-p", child_port, "+short", f"www.{CHILD}"), 10, "have the child answer")
            probe = directory / "probe.json"
            tool("dnsviz", "probe", "-4", "-d", "0", "-A", "-a", "p2p", "-x", f"p2p+:ns.nic.p2p=127.0.0.1:{port}",
                 "-x", f"{CHILD}:ns.{CHILD}=127.0.0.1:{child_port}", "-o", probe, *SECURE, seconds=300)
        found, seen = [], 0
        for name in SECURE:
            assessed = directory / "grok.json"
            tool("dnsviz", "grok", "-P", "-l", "info", "-t", keys, "-r", probe, "-o", assessed, name)
            judged = json.loads(assessed.read_text() or "{}")
            words = list(statuses(judged))
            seen += len(words)
            require(words, f"DNSViz says nothing about {name}")
            found += [f"{name}: {each}" for each in complaints(judged)]
            found += [f"{name}: status {word}" for word in set(words) - {"SECURE", "VALID", "NOERROR", "NXDOMAIN"}]
        (directory / "print").write_text(tool("dnsviz", "print", "-P", "-t", keys, "-r", probe, *SECURE))
        require(not found, f"{len(found)} complaints:\n" + "\n".join(sorted(set(found))))
        no_panics(net)
        return f"{len(SECURE)} names, {seen} statuses, no error and no warning"


if __name__ == "__main__":
    main(run, parser(__doc__).parse_args())
