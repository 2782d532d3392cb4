#!/usr/bin/env python3
"""A suffix below a domain of the operator's own: a signed parent zone on NSD delegates to a node and has its DS record,
and a validating unbound that trusts the parent alone calls the node's answers authentic. On the same node: HOSTS files,
status names and NSID in the eyes of dig."""

import re
import shutil
import subprocess

from common import BIN, Net, main, no_panics, parser, require, until, workspace
from harness.net import free_base_port
from harness.wallet import Wallet
from others import answers, nsd, running, unbound

ZONE = "names.example.org"
RECORDS = """\
@ 300 IN A 192.0.2.7
*.wild 300 IN TXT "any"
www 300 IN CNAME own.names.example.org.
"""
HOSTS = """\
# the operator's own
192.0.2.99  nas.example printer
0.0.0.0     ads.example
192.0.2.98  made-up.names.example.org
this is no address
"""
PARENT = """\
$ORIGIN example.org.
@ 3600 IN SOA ns1 hostmaster 1 3600 900 604800 300
@ 3600 IN NS ns1
ns1 3600 IN A 127.0.0.1
ns2 3600 IN A 127.0.0.1
names 3600 IN NS ns1
names 3600 IN NS ns2
"""
UNBOUND = """\
    trust-anchor-file: "{anchor}"
    do-not-query-localhost: no
    module-config: "validator iterator"
    val-log-level: 2
remote-control:
    control-enable: no
stub-zone:
    name: "example.org."
    stub-addr: 127.0.0.1@{parent}
stub-zone:
    name: "names.example.org."
    stub-addr: 127.0.0.1@{node}
"""


def run_tool(*command, cwd=None):
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd=cwd)
    require(done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done.stdout


def dig(port, *words):
    return run_tool("dig", "@127.0.0.1", "-p", str(port), "+time=5", "+tries=2", *words)


def short(port, *words):
    return sorted(dig(port, "+short", *words).splitlines())


def flags(text):
    return re.search(r"flags: ([a-z ]*);", text)[1].split()


def settings(node, directory):
    """The node's configuration with a suffix that is a real domain, and with a HOSTS file."""
    hosts = directory / "hosts"
    hosts.write_text(HOSTS)
    text = node.config.read_text()
    added = (
        f'[dns]\nsuffixes = ["{ZONE}", "p2p"]\nhosts = "{hosts}"\nserver_id = "node-one"\n'
        f'authority."{ZONE}" = {{ name_servers = ["ns1.example.org", "ns2.example.org"], contact = "dns@example.org" }}\n'
    )
    node.config.write_text(text.replace("[dns]\n", added))
    return hosts


def signed_parent(directory, ds):
    """example.org with that delegation, signed; the zone file and the trust anchor."""
    source = directory / "example.org"
    source.write_text(PARENT + ds)
    base = run_tool("ldns-keygen", "-a", "ECDSAP256SHA256", "-k", "example.org", cwd=directory).strip()
    run_tool("ldns-signzone", "-n", str(source), base, cwd=directory)
    return directory / "example.org.signed", directory / f"{base}.key"


def check_apex(port, ds):
    """What the node says at the apex is what the parent says, and what the operator has set."""
    require(short(port, ZONE, "NS") == ["ns1.example.org.", "ns2.example.org."], "the NS set is not the parent's")
    soa = short(port, ZONE, "SOA")[0].split()
    # The digits name the block.
    require(soa[0] == "ns1.example.org." and re.fullmatch(r"dns\+[0-9a-f]{16}\.example\.org\.", soa[1]), f"SOA says {soa}")
    cds = short(port, ZONE, "CDS")[0].replace(" ", "")
    require(cds == "".join(ds.split()[3:]), f"CDS {cds} is not the DS record exported: {ds}")
    require(short(port, ZONE, "CDNSKEY") == short(port, ZONE, "DNSKEY"), "CDNSKEY is not the key")
    require(short(port, "p2p", "NS") == ["ns.nic.p2p."], "the other suffix lost its name server")
    require(short(port, "p2p", "CDS") == [], "a suffix that nobody delegates has CDS")
    return 6


def check_chain(port):
    """From the parent's key to the node's answers, present and absent."""
    cases = [
        (("own." + ZONE, "A"), "192.0.2.7"),
        (("www.own." + ZONE, "A"), "192.0.2.7"),
        (("x.wild.own." + ZONE, "TXT"), "any"),
        ((ZONE, "SOA"), "dns+"),
        ((ZONE, "CDS"), " 13 2 "),
        (("own." + ZONE, "AAAA"), "NOERROR"),
        (("nobody." + ZONE, "A"), f"{ZONE}."),
    ]
    for question, word in cases:
        seen = dig(port, "+dnssec", *question)
        require("ad" in flags(seen) and word in seen, f"unbound about {' '.join(question)}: {seen}")
    # What a HOSTS file puts into a signed zone has no signature, and is refused.
    seen = dig(port, "made-up." + ZONE, "A")
    require("SERVFAIL" in seen, f"unbound believes a HOSTS file: {seen}")
    return len(cases) + 1


def check_hosts(port, hosts):
    require(short(port, "nas.example", "A") == ["192.0.2.99"], "a name of the file")
    require(short(port, "printer", "A") == ["192.0.2.99"], "a name without a dot")
    require(short(port, "-x", "192.0.2.99") == ["nas.example."], "the name of the address")
    require(short(port, "ads.example", "A") == ["0.0.0.0"], "a sink")
    seen = dig(port, "ads.example", "AAAA")
    require("NOERROR" in seen and "ANSWER: 0" in seen and "aa" in flags(seen), f"a sink has no other address: {seen}")
    hosts.write_text(f"192.0.2.100 own.{ZONE}\n")
    until(lambda: short(port, "own." + ZONE, "A") == ["192.0.2.100"], 10, "see the file read again")
    require("RRSIG" not in dig(port, "+dnssec", "own." + ZONE, "A"), "what a file says is signed")
    require("REFUSED" in dig(port, "nas.example", "A"), "a name that has left the file")
    return 8


def check_status(node, port):
    height = int(short(port, "CH", "TXT", "height.namestead")[0].strip('"'))
    require(height <= node.api().try_status()["height"], "the height in DNS is ahead")
    for name, expected in [
        ("synced.namestead", "yes"),
        ("peers.namestead", "0"),
        ("id.server", "node-one"),
        ("hostname.bind", "node-one"),
        ("version.bind", "namestead "),
    ]:
        seen = short(port, "CH", "TXT", name)
        require(len(seen) == 1 and seen[0].strip('"').startswith(expected), f"{name} says {seen}")
    require("REFUSED" in dig(port, "CH", "TXT", "authors.bind"), "authors.bind")
    seen = dig(port, "+nsid", "own." + ZONE, "A")
    require('("node-one")' in seen, f"NSID: {seen}")
    return 8


def run(args):
    for tool in ("dig", "unbound", "nsd", "ldns-keygen", "ldns-signzone"):
        require(shutil.which(tool), f"{tool} is not installed; try: scripts/setup --test")
    with workspace(args, "own-domain") as directory, Net.plan(1, directory) as net:
        net.write_configs()
        node = net[1]
        hosts = settings(node, directory)
        net.start()
        net.wait_until_producing(60)
        operation = Wallet(directory / "wallet", node).create().register("own", RECORDS, wait=True)
        require(operation["state"] == "done", f"registration ended as {operation['state']}: {operation.get('error')}")
        port = int(node.dns.rsplit(":", 1)[1])
        until(lambda: short(port, "own." + ZONE, "A"), 10, "see the name in DNS")
        exported = run_tool(BIN / "namestead", "trust-anchor", "--format", "ds", "--config", node.config).splitlines()
        require([line.split()[0] for line in exported] == [f"{ZONE}.", "p2p."], f"exported: {exported}")
        zonefile, anchor = signed_parent(directory, exported[0] + "\n")
        base = free_base_port(1)
        counts = {"apex": check_apex(port, exported[0])}
        for name in ("nsd", "unbound"):
            (directory / name).mkdir()
        parent = nsd(directory / "nsd", [f"127.0.0.1@{base}"], {"example.org": f"zonefile: {zonefile}"})
        resolver = unbound(directory / "unbound", base + 1, UNBOUND.format(anchor=anchor, parent=base, node=port))
        with running(parent, directory / "nsd" / "out", lambda: answers(base)):
            with running(resolver, directory / "unbound" / "out", lambda: answers(base + 1)):
                counts["validated"] = check_chain(base + 1)
        counts["status"] = check_status(node, port)
        counts["hosts"] = check_hosts(port, hosts)
        no_panics(net)
        return ", ".join(f"{what} {count}" for what, count in counts.items())


main(run, parser(__doc__).parse_args())
