#!/usr/bin/env python3
"""Zonemaster about two zones of a node: a suffix delegated from the root, and one below an operator's own domain.

In a network namespace with public-looking addresses: the node on port 53 of four of them, and NSD with a root, a
top-level domain, the parent domain, reverse names and a table of autonomous systems. Zonemaster starts from that root. It
must report no error; warnings and notices must be among those explained here. Needs root, and Debian's zonemaster-cli and nsd.
"""

import contextlib
import ipaddress
import json
import os
import shutil
import subprocess

from common import BIN, Failed, Net, main, no_panics, parser, require, until, workspace
from harness.net import free_base_port
from harness.node import Node
from harness.wallet import Wallet
from others import nsd, running

OWN = "names.example.org"
ZONES = (OWN, "p2p")
# Two networks for the node, two for everybody else. Nothing leaves the namespace.
NODE = {"ns1": ("20.1.0.1", "2a01:100::1"), "ns2": ("21.2.0.1", "2a02:200::1")}
OTHERS = {"ns-a": ("22.3.0.1", "2a03:300::1"), "ns-b": ("23.4.0.1", "2a04:400::1")}
HEAD = "@ 3600 IN SOA ns-a.example.org. hostmaster.example.org. 1 14400 3600 1209600 3600\n@ 3600 IN NS ns-a.example.org.\n@ 3600 IN NS ns-b.example.org.\n"
# Warnings and notices that are as they should be.
EXPLAINED = {
    "REFRESH_MINIMUM_VALUE_LOWER": "SOA REFRESH is the mean time between blocks: secondaries shall see each block",
    "RETRY_MINIMUM_VALUE_LOWER": "SOA RETRY is shorter still, for the same reason",
    "SOA_DEFAULT_TTL_MAXIMUM_VALUE_LOWER": "what is absent can be there after the next block",
    "Z09_MISSING_MAIL_TARGET": "a suffix takes no mail; its contact is elsewhere",
}
# Without these the DNSSEC tests have not been run to their end.
EXPECTED = {"RRSIG_EXPIRATION", "DS10_HAS_NSEC", "ALGORITHM_OK", "ONE_SOA_SERIAL", "QNAME_CASE_SENSITIVE", "EDNS0_SUPPORT"}


def addresses(hosts):
    return "".join(f"{host}.example.org. 3600 IN {'AAAA' if ':' in a else 'A'} {a}\n" for host, both in hosts.items() for a in both)


def delegation(zone, ds=""):
    return "".join(f"{zone}. 3600 IN NS {host}.example.org.\n" for host in NODE) + ds


def zone_files(directory, ds):
    """The tree above the node: zone → file."""
    hosts = {**NODE, **OTHERS}
    reverse = "".join(f"{ipaddress.ip_address(a).reverse_pointer}. 3600 IN PTR {host}.example.org.\n" for host, both in hosts.items() for a in both)
    org = "org. 3600 IN NS ns-a.example.org.\norg. 3600 IN NS ns-b.example.org.\n"
    systems = ""
    for number, both in enumerate(hosts.values(), start=64_501):
        for address in both:
            length, kind = (32, "origin6") if ":" in address else (16, "origin")
            network = ipaddress.ip_network(f"{address}/{length}", strict=False)
            labels = ipaddress.ip_address(address).reverse_pointer.split(".")[-10 if ":" in address else -4 : -2]
            systems += f'*.{".".join(labels)}.{kind} 3600 IN TXT "{number} | {network} | ZZ | none | 2020-01-01"\n'
    texts = {
        ".": HEAD + org + addresses(hosts) + delegation("p2p", ds["p2p"]) + reverse,
        "org": HEAD + org.replace("org. 3600", "example.org. 3600", 2) + addresses(OTHERS),
        "example.org": HEAD + addresses(hosts) + delegation(OWN, ds[OWN]) + "@ 3600 IN MX 10 mail\nmail 3600 IN A 22.3.0.2\n"
                       + "asn 3600 IN NS ns-a\nasn 3600 IN NS ns-b\n",
        "asn.example.org": HEAD + systems,
    }
    for zone, text in texts.items():
        (directory / f"zone.{zone}").write_text(f"$ORIGIN {zone.rstrip('.')}.\n{text}")
    return texts


@contextlib.contextmanager
def namespace():
    """A network of its own, with all the addresses on its loopback."""
    name = f"zm{os.getpid()}"
    ip = lambda *words: subprocess.run(["ip", *words], check=True, capture_output=True)
    ip("netns", "add", name)
    try:
        ip("-n", name, "link", "set", "lo", "up")
        for both in {**NODE, **OTHERS}.values():
            for address in both:
                ip("-n", name, "addr", "add", address + ("/128" if ":" in address else "/32"), "dev", "lo", *(["nodad"] if ":" in address else []))
        yield name
    finally:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def make_node(directory, inside):
    node = Node("node1", directory / "node1", free_base_port(1), namespace=inside)
    node.write_config()
    listen = ", ".join(f'"{f"[{a}]" if ":" in a else a}:53"' for both in NODE.values() for a in both)
    authority = "".join(f'authority."{zone}" = {{ name_servers = ["ns1.example.org", "ns2.example.org"], contact = "dns@example.org" }}\n' for zone in ZONES)
    text = node.config.read_text()
    text = text.replace(f'listen = ["{node.dns}"]', f'listen = [{listen}, "{node.dns}"]\nsuffixes = ["{OWN}", "p2p"]\n{authority}')
    node.config.write_text(text)
    return node


def judge(node, directory, zone, show):
    """Zonemaster's messages about a zone, counted by level; any that must not be ends the test."""
    profile = directory / "profile.json"
    profile.write_text(json.dumps({"asn_db": {"style": "Cymru", "sources": {"Cymru": ["asn.example.org"]}}}))
    hints = directory / "root.hints"
    lines = [f". 3600000 NS {host}.example.org.\n" for host in OTHERS]
    hints.write_text("".join(lines) + addresses(OTHERS).replace("3600 IN", "3600000"))
    command = [*node.prefix, "zonemaster-cli", "--json", "--level", "INFO", "--hints", str(hints), "--profile", str(profile), "--no-progress", zone]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    (directory / f"zonemaster.{zone}.json").write_text(done.stdout)
    start = done.stdout.find("[") if done.stdout.lstrip().startswith("[") else done.stdout.find("{")
    require(start >= 0, f"zonemaster-cli said nothing: {done.stdout}{done.stderr}")
    said = json.loads(done.stdout[start:])
    messages = said["results"] if isinstance(said, dict) else said
    counts, wrong = {}, []
    for message in messages:
        level = message["level"]
        counts[level] = counts.get(level, 0) + 1
        why = EXPLAINED.get(message["tag"])
        line = f"{level} {message.get('testcase', message.get('module'))} {message['tag']} {json.dumps(message.get('args', {}))}"
        if level in ("ERROR", "CRITICAL") or (level in ("WARNING", "NOTICE") and not why):
            wrong.append(line)
        if show or level != "INFO":
            print(f"  {zone}: {line}{f' ({why})' if why else ''}", flush=True)
    require(not wrong, f"{zone}: " + "\n".join(wrong))
    missing = EXPECTED - {message["tag"] for message in messages}
    require(not missing, f"{zone}: these tests have not been run: {', '.join(missing)}")
    return counts


def run(args):
    for tool in ("zonemaster-cli", "nsd", "ip"):
        require(shutil.which(tool, path=os.environ["PATH"] + ":/usr/sbin"), f"{tool} is not installed; try: scripts/conformance zonemaster")
    if os.geteuid() != 0:
        raise Failed("network namespaces need root")
    with workspace(args, "zonemaster") as directory, namespace() as inside:
        node = make_node(directory, inside)
        with Net(directory, [node]) as net:
            net.start()
            net.wait_until_producing(60)
            Wallet(directory / "wallet", node).create().register("zone", "@ 300 IN A 192.0.2.7\n", wait=True)
            until(lambda: node.dig("zone.p2p"), 10, "see the name in DNS")
            exported = subprocess.run([str(BIN / "namestead"), "trust-anchor", "--format", "ds", "--config", str(node.config)],
                                      capture_output=True, text=True, check=True).stdout.splitlines()
            ds = {line.split()[0].rstrip("."): line + "\n" for line in exported}
            listen = [f"{address}@53" for both in OTHERS.values() for address in both]
            files = {zone: f"zonefile: zone.{zone}" for zone in zone_files(directory, ds)}
            ask = ["dig", f"@{OTHERS['ns-a'][0]}", "+short", "+time=1", "+tries=1", ".", "NS"]
            is_ready = lambda: subprocess.run([*node.prefix, *ask], capture_output=True, text=True, check=False).stdout.startswith("ns-")
            with running([*node.prefix, *nsd(directory, listen, files)], directory / "nsd.out", is_ready):
                said = []
                for zone in ZONES:
                    counts = judge(node, directory, zone, args.verbose)
                    said.append(f"{zone}: " + ", ".join(f"{counts.get(level, 0)} {level}" for level in ("CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO")))
            no_panics(net)
            return "; ".join(said)


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--verbose", action="store_true", help="print every message")
    main(run, arguments.parse_args())
