#!/usr/bin/env python3
"""DNSSEC in the eyes of others: delv, drill, unbound-host and a validating unbound accept what a node signs about
present, absent and delegated names, and refuse an answer in which one bit was changed on the way."""

import contextlib
import re
import shutil
import socket
import subprocess
import threading

import others
from common import BIN, Net, main, no_panics, parser, require, until, workspace
from harness.net import free_base_port
from harness.wallet import Wallet
from others import answers, running

SIGNED = """\
@ 300 IN A 192.0.2.7
@ 300 IN TXT "Signed while answering"
@ 300 IN MX 10 Mail.signed.p2p.
*.wild 300 IN A 192.0.2.8
a.b.c 300 IN AAAA 2001:db8::1
www 300 IN CNAME signed.p2p.
gone 300 IN CNAME nothing.signed.p2p.
old 300 IN DNAME signed.p2p.
child 300 IN NS ns.child.signed.p2p.
ns.child 300 IN A 192.0.2.53
strong 300 IN NS ns.strong.signed.p2p.
ns.strong 300 IN A 192.0.2.53
strong 300 IN DS 4711 13 2 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
"""
# What is asked, and a word of the answer.
PRESENT = [
    ("signed.p2p", "A", "192.0.2.7"),
    ("SIGNED.p2p", "MX", "signed.p2p."),
    ("signed.p2p", "TXT", "Signed while answering"),
    ("any.thing.wild.signed.p2p", "A", "192.0.2.8"),
    ("a.b.c.signed.p2p", "AAAA", "2001:db8::1"),
    ("www.signed.p2p", "A", "192.0.2.7"),
    ("a.b.c.old.signed.p2p", "AAAA", "2001:db8::1"),
    ("strong.signed.p2p", "DS", "4711 13 2"),
    ("p2p", "SOA", "hostmaster+"),
    ("p2p", "NS", "ns.nic.p2p."),
    ("p2p", "DNSKEY", "257 3 13"),
    ("ns.nic.p2p", "A", "127.0.0.1"),
    # The other suffix is a zone of its own with the same key.
    ("x.wild.signed.p2p.alt", "A", "192.0.2.8"),
]
# From one of our zones into the other.
CROSSING = ("www.signed.p2p.alt", "A", "192.0.2.7")
NO_TYPE = [
    ("signed.p2p", "AAAA"),
    ("b.c.signed.p2p", "A"),
    ("x.wild.signed.p2p", "MX"),
    ("child.signed.p2p", "DS"),
    ("p2p", "A"),
]
NO_NAME = [
    ("nobody.p2p", "A"),
    ("deeply.below.nobody.p2p", "TXT"),
    ("no.signed.p2p", "A"),
    ("gone.signed.p2p", "A"),
    ("nobody.p2p.alt", "A"),
]


def run_tool(*command, seconds=30):
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    return done.stdout + done.stderr


def export(node, kind, directory):
    """The node's key as an anchor file of that kind."""
    text = subprocess.run(
        [str(BIN / "namestead"), "trust-anchor", "--format", kind, "--config", str(node.config)],
        capture_output=True, text=True, check=True,
    ).stdout
    path = directory / f"anchor.{kind}"
    path.write_text(text)
    return path


# --- one question, one validator ----------------------------------------------------------------------------------


def delv(server, anchor, name, rtype):
    host, port = server.rsplit(":", 1)
    root = "p2p.alt" if name.endswith(".alt") else "p2p"
    return run_tool("delv", f"@{host}", "-p", port, "-a", str(anchor), f"+root={root}", "+nocrypto", name, rtype)


def check_delv(server, anchor):
    for name, rtype, word in PRESENT:
        seen = delv(server, anchor, name, rtype)
        require("; fully validated" in seen and word in seen, f"delv {name} {rtype}: {seen}")
        require("unsigned answer" not in seen, f"delv {name} {rtype}: {seen}")
    for name, rtype in [*NO_TYPE, *NO_NAME]:
        seen = delv(server, anchor, name, rtype)
        require("fully validated" in seen and "resolution failed: ncache" in seen, f"delv {name} {rtype}: {seen}")
    return len(PRESENT) + len(NO_TYPE) + len(NO_NAME)


def check_drill(node, directory):
    """drill chases each signature down to the key it is given."""
    host, port = node.dns.rsplit(":", 1)
    data = run_tool("dig", f"@{host}", "-p", port, "+short", "DNSKEY", "p2p").strip()
    keys = directory / "anchor.drill"
    keys.write_text(f"p2p. 3600 IN DNSKEY {data}\n")
    for name, rtype, _ in PRESENT[:5]:
        seen = run_tool("drill", "-S", "-D", "-k", str(keys), "-p", port, name, rtype, f"@{host}")
        require(";; Chase successful" in seen, f"drill {name} {rtype}: {seen}")
    return 5


# --- a validating resolver ----------------------------------------------------------------------------------------

UNBOUND = """\
    do-not-query-localhost: no
    module-config: "validator iterator"
    val-log-level: 2
    # So that every question reaches the node, and what is checked is what it says now.
    cache-max-ttl: 0
    cache-max-negative-ttl: 0
    aggressive-nsec: no
include: "{anchor}"
remote-control:
    control-enable: no
stub-zone:
    name: "p2p."
    stub-addr: 127.0.0.1@{upstream}
stub-zone:
    name: "p2p.alt."
    stub-addr: 127.0.0.1@{upstream}
"""


@contextlib.contextmanager
def serving(directory, text):
    """An unbound of that configuration, answering; the port it listens on."""
    directory.mkdir()
    port = free_base_port(1) + 7
    with running(others.unbound(directory, port, text), directory / "out", lambda: answers(port)):
        yield port


def unbound(directory, anchor, upstream, more=""):
    """A validating resolver in front of a port."""
    return serving(directory, UNBOUND.format(anchor=anchor, upstream=upstream) + more)


def ask(port, name, rtype):
    return run_tool("dig", "@127.0.0.1", "-p", str(port), "+dnssec", "+time=5", "+tries=2", name, rtype)


def verdict(text):
    """(code, whether the resolver calls it authentic)."""
    code = re.search(r"status: (\w+)", text)
    flags = re.search(r"flags: ([a-z ]*);", text)
    return (code and code[1], bool(flags) and "ad" in flags[1].split())


def check_unbound(port):
    for name, rtype, word in [*PRESENT, CROSSING]:
        seen = ask(port, name, rtype)
        require(verdict(seen) == ("NOERROR", True) and word.lower() in seen.lower(), f"unbound {name} {rtype}: {seen}")
    for name, rtype in [*NO_TYPE, *NO_NAME]:
        seen = ask(port, name, rtype)
        require(verdict(seen)[0] in ("NOERROR", "NXDOMAIN") and verdict(seen)[1], f"unbound {name} {rtype}: {seen}")
    return len(PRESENT) + 1 + len(NO_TYPE) + len(NO_NAME)


CHILD = """\
    access-control: 127.0.0.0/8 allow
    module-config: "iterator"
    local-zone: "child.signed.p2p." static
    local-data: "www.child.signed.p2p. 300 A 192.0.2.99"
    local-zone: "strong.signed.p2p." static
    local-data: "www.strong.signed.p2p. 300 A 192.0.2.99"
remote-control:
    control-enable: no
"""


def check_delegations(directory, anchor, upstream):
    """Two children on a server without signatures: the one whose parent proves that it has no DS is believed, though
    not authentic; the other, whose parent has a DS, is not."""
    with serving(directory / "child", CHILD) as port:
        stub = 'stub-zone:\n    name: "{}.signed.p2p."\n    stub-addr: 127.0.0.1@{}\n'
        stubs = stub.format("child", port) + stub.format("strong", port)
        with unbound(directory / "parent", anchor, upstream, stubs) as resolver:
            seen = ask(resolver, "www.child.signed.p2p", "A")
            require(verdict(seen) == ("NOERROR", False) and "192.0.2.99" in seen, f"the unsigned child: {seen}")
            seen = ask(resolver, "www.strong.signed.p2p", "A")
            require(verdict(seen) == ("SERVFAIL", False), f"the child that should be signed: {seen}")
    return 2


def check_unbound_host(anchor, port, directory):
    """unbound-host validates by itself; the resolver in front is only its way to the node."""
    resolv = directory / "unbound-host.conf"
    resolv.write_text(
        f'include: "{anchor}"\nserver:\n    do-not-query-localhost: no\nstub-zone:\n    name: "p2p."\n'
        f"    stub-addr: 127.0.0.1@{port}\n"
    )
    for name, rtype in [("signed.p2p", "A"), ("www.signed.p2p", "A"), ("nobody.p2p", "A"), ("signed.p2p", "AAAA")]:
        seen = run_tool("unbound-host", "-C", str(resolv), "-v", "-t", rtype, name)
        require("(secure)" in seen and "BOGUS" not in seen, f"unbound-host {name} {rtype}: {seen}")
    return 4


# --- someone in between -------------------------------------------------------------------------------------------


class Tamperer:
    """A UDP relay to a node that changes the last bit of the bytes `needle` in each answer; without them, nothing."""

    def __init__(self, upstream, address="127.0.0.1"):
        host, port = upstream.rsplit(":", 1)
        self.upstream = (host, int(port))
        self.needle = None
        self.changed = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 0))
        self.port = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self._relay, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _relay(self):
        with contextlib.suppress(OSError):
            while True:
                query, client = self.socket.recvfrom(65535)
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
                    way.settimeout(5)
                    way.sendto(query, self.upstream)
                    with contextlib.suppress(TimeoutError):
                        self.socket.sendto(self._change(way.recv(65535)), client)

    def _change(self, answer):
        at = answer.find(self.needle) if self.needle else -1
        if at < 0:
            return answer
        self.changed += 1
        at += len(self.needle) - 1
        return answer[:at] + bytes([answer[at] ^ 1]) + answer[at + 1 :]


def check_tampering(node, anchors, directory):
    # What is changed: an address, a text, and the NXNAME bit that says "absent".
    nxname = b"\x00\x11" + bytes(5) + b"\x03" + bytes(10) + b"\x80"
    cases = [
        ("signed.p2p", "A", bytes([192, 0, 2, 7])),
        ("signed.p2p", "TXT", b"Signed while answering"),
        ("nobody.p2p", "A", nxname),
    ]
    with Tamperer(node.dns) as relay, unbound(directory / "tampered", anchors["unbound"], relay.port) as port:
        for name, rtype, needle in cases:
            relay.needle, relay.changed = None, 0
            require(verdict(ask(port, name, rtype))[1], f"unbound refuses {name} {rtype} through an honest relay")
            seen = delv(f"127.0.0.1:{relay.port}", anchors["delv"], name, rtype)
            require("fully validated" in seen, f"delv refuses {name} {rtype} through an honest relay: {seen}")
            relay.needle = needle
            seen = ask(port, name, rtype)
            require(relay.changed > 0, f"the relay found nothing to change in {name} {rtype}")
            require(verdict(seen) == ("SERVFAIL", False), f"unbound believes a changed {name} {rtype}: {seen}")
            seen = delv(f"127.0.0.1:{relay.port}", anchors["delv"], name, rtype)
            require("fully validated" not in seen, f"delv believes a changed {name} {rtype}: {seen}")
    return len(cases)


def run(args):
    for tool in ("delv", "drill", "unbound", "unbound-host"):
        require(shutil.which(tool), f"{tool} is not installed; try: scripts/setup --test")
    with workspace(args, "dnssec") as directory, Net.plan(1, directory) as net:
        net.up()
        node = net[1]
        operation = Wallet(directory / "wallet", node).create().register("signed", SIGNED, wait=True)
        require(operation["state"] == "done", f"registration ended as {operation['state']}: {operation.get('error')}")
        until(lambda: node.dig("signed.p2p"), 10, "see the name in DNS")
        anchors = {kind: export(node, kind, directory) for kind in ("unbound", "bind", "knot", "systemd", "delv")}
        host, port = node.dns.rsplit(":", 1)
        counts = {"delv": check_delv(node.dns, anchors["delv"]), "drill": check_drill(node, directory)}
        with unbound(directory / "unbound", anchors["unbound"], port) as resolver:
            counts["unbound"] = check_unbound(resolver)
        counts["delegations"] = check_delegations(directory, anchors["unbound"], port)
        counts["unbound-host"] = check_unbound_host(anchors["unbound"], port, directory)
        counts["changed and refused"] = check_tampering(node, anchors, directory)
        no_panics(net)
        return ", ".join(f"{tool} {count}" for tool, count in counts.items())


if __name__ == "__main__":
    main(run, parser(__doc__).parse_args())
