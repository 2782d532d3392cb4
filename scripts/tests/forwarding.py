#!/usr/bin/env python3
"""Forwarding to a real unbound over UDP, TCP, TLS and HTTPS: rules, cache, rebinding, answers while it is dead and
after it has come back, and in its query log not one name that must not leave."""

import contextlib
import random
import re
import shutil
import subprocess
import time

import others
from common import Net, main, no_panics, parser, require, until, workspace
from harness.net import free_base_port

UNBOUND = """\
    log-queries: yes
    log-time-ascii: no
    num-threads: 1
    extended-statistics: yes
    interface: 127.0.0.1@{tls}
    interface: 127.0.0.1@{https}
    tls-port: {tls}
    https-port: {https}
    tls-service-key: "{key}"
    tls-service-pem: "{certificate}"
    module-config: "iterator"
    local-zone: "." static
    {data}
remote-control:
    control-enable: yes
    control-interface: "{directory}/control"
    control-use-cert: no
"""
PUBLIC = [
    *(f"{way}.up.example. 300 A 198.51.100.{last}" for last, way in enumerate(("udp", "tcp", "tls", "https"), 1)),
    "general.up.example. 300 A 198.51.100.9",
    "short.up.example. 2 A 198.51.100.10",
    "late.up.example. 300 A 198.51.100.11",
    "rebind.up.example. 300 A 192.168.1.9",
    "mapped.up.example. 300 AAAA ::ffff:10.0.0.1",
    "alias.up.example. 300 CNAME general.up.example.",
    *(f"big.up.example. 300 TXT {'x' * 200}{i:02}" for i in range(20)),
]
HOME = ["nas.home.arpa. 300 A 192.168.1.5", "nas.lan. 300 A 192.168.1.6"]
NEVER = [
    "nobody.p2p", "a.b.p2p", "nobody.p2p.alt", "gns.alt", "secret.onion", "printer.local", "x.invalid", "a.test",
    "corp.internal", "localhost", "x.localhost", "_dns.resolver.arpa", "1.1.168.192.in-addr.arpa", "1.0.0.10.in-addr.arpa",
    "1.0.31.172.in-addr.arpa", "1.0.64.100.in-addr.arpa", "1.0.d.f.ip6.arpa", "www.refused.example",
]


def certificate(directory):
    """A key and a certificate for 127.0.0.1 and dns.up.example, which vouches for itself."""
    key, pem = directory / "key.pem", directory / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-keyout", str(key), "-out", str(pem), "-subj", "/CN=dns.up.example",
         "-addext", "subjectAltName=DNS:dns.up.example,IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"],
        check=True, capture_output=True,
    )
    return key, pem


class Unbound:
    """One unbound that knows a few names and denies all others."""

    def __init__(self, directory, key, pem, data):
        directory.mkdir()
        self.directory = directory
        self.port = free_base_port(4) + 1
        lines = [f"local-data: '{line}'" for line in data]
        self.command = others.unbound(directory, self.port, UNBOUND.format(
            directory=directory, tls=self.port + 1, https=self.port + 2, key=key, certificate=pem, data="\n    ".join(lines),
        ))
        self.process = None

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: self.control("status").returncode == 0, 10, "have unbound running")
        return self

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def control(self, *words):
        command = ["unbound-control", *self.command[-2:], *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)

    def counter(self, name):
        found = re.search(rf"^{re.escape(name)}=(\d+)", self.control("stats_noreset").stdout, re.M)
        require(found, f"unbound-control does not tell {name}")
        return int(found[1])

    def asked(self):
        """Names in the query log, lower-cased."""
        log = (self.directory / "unbound.log").read_text()
        return [name.lower() for name in re.findall(r"info: 127\.0\.0\.1 (\S+?)\.? [A-Z0-9]+ IN", log)]


@contextlib.contextmanager
def upstreams(directory):
    key, pem = certificate(directory)
    both = [Unbound(directory / "public", key, pem, PUBLIC)]
    try:
        both[0].start()
        both.append(Unbound(directory / "home", key, pem, HOME).start())
        yield *both, pem
    finally:
        for unbound in both:
            unbound.kill()


def configure(node, public, home, pem):
    ways = {
        "udp": f"127.0.0.1:{public.port}",
        "tcp": f"tcp://127.0.0.1:{public.port}",
        "tls": f"tls://dns.up.example:{public.port + 1}#127.0.0.1",
        "https": f"https://dns.up.example:{public.port + 2}/dns-query#127.0.0.1",
    }
    rules = [(f"{way}.up.example", [upstream]) for way, upstream in ways.items()]
    rules += [("home.arpa", [f"127.0.0.1:{home.port}"]), ("lan", [f"127.0.0.1:{home.port}"]), ("refused.example", [])]
    quoted = lambda items: ", ".join(f'"{item}"' for item in items)
    listed = ", ".join(f'{{ suffix = "{suffix}", upstreams = [{quoted(there)}] }}' for suffix, there in rules)
    text = node.config.read_text().replace("upstreams = []", f'upstreams = ["{ways["udp"]}"]', 1)
    node.config.write_text(f'{text}\n[dns.forward]\nca_file = "{pem}"\nrules = [{listed}]\n')


def ask(node, name, rtype="A", *options):
    """What dig shows in full."""
    host, port = node.dns.rsplit(":", 1)
    command = ["dig", f"@{host}", "-p", port, name, rtype, "+time=5", "+tries=1", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def check(node, name, rtype, code, *words, options=()):
    seen = ask(node, name, rtype, *options)
    require(f"status: {code}" in seen and all(word in seen for word in words), f"{name} {rtype}: {seen}")
    return seen


def check_transports(node, public):
    for last, way in enumerate(("udp", "tcp", "tls", "https"), 1):
        counted = ["num.query.tcp", "num.query.tls", "num.query.https"]
        before = [public.counter(counter) for counter in counted]
        check(node, f"{way}.up.example", "A", "NOERROR", f"198.51.100.{last}")
        came = {counter for counter, count in zip(counted, before) if public.counter(counter) > count}
        # To unbound, what is inside TLS is TCP as well, and HTTPS is TLS.
        expected = set(counted[:("udp", "tcp", "tls", "https").index(way)])
        require(came == expected, f"over {way} unbound counted {came}")
    # 20 strings of 202 bytes come over TCP to us, and so they do from us.
    big = check(node, "big.up.example", "TXT", "NOERROR", "ANSWER: 20", options=["+tcp"])
    require(big.count('"x') == 20, big)
    return 4


def check_cache(node, public):
    for _ in range(20):
        check(node, "GENERAL.up.example", "A", "NOERROR", "198.51.100.9", "GENERAL.up.example.")
    require(public.asked().count("general.up.example") == 1, f"asked {public.asked().count('general.up.example')} times")
    # unbound follows no aliases among its own data. Random letter case does not come back in the target.
    check(node, "alias.up.example", "A", "NOERROR", "CNAME\tgeneral.up.example.")


def check_rules(node, home):
    check(node, "nas.home.arpa", "A", "NOERROR", "192.168.1.5")
    check(node, "nas.lan", "A", "NOERROR", "192.168.1.6")
    check(node, "www.refused.example", "A", "REFUSED", "EDE: 15")
    require({"nas.home.arpa", "nas.lan"} <= set(home.asked()), f"the upstream of the rule was asked {home.asked()}")


def check_rebinding(node):
    check(node, "rebind.up.example", "A", "NOERROR", "ANSWER: 0", "EDE: 15")
    check(node, "mapped.up.example", "AAAA", "NOERROR", "ANSWER: 0", "EDE: 15")


def check_no_leak(node, public, home):
    dice = random.Random(1)
    mixed = lambda name: "".join(dice.choice((str.upper, str.lower))(letter) for letter in name)
    before = len(home.asked())
    for name in NEVER:
        for rtype in ("A", "PTR", "SVCB", "ANY"):
            ask(node, mixed(name), rtype, dice.choice(("+dnssec", "+cdflag", "+tcp", "+noedns")))
    check(node, "witness.example", "A", "NXDOMAIN")
    asked = public.asked()
    require("witness.example" in asked, "the query log is not written")
    leaked = [name for name in asked if any(name == never or name.endswith("." + never) for never in NEVER)]
    require(not leaked and len(home.asked()) == before, f"leaked: {leaked} {home.asked()[before:]}")
    return 4 * len(NEVER)


def check_death(node, public):
    """What was known is served while nobody answers, and new questions are answered soon after the return."""
    check(node, "short.up.example", "A", "NOERROR", "198.51.100.10")
    public.kill()
    stale = until(lambda: (seen := ask(node, "short.up.example")) and "EDE: 3" in seen and seen, 15, "get a stale answer")
    require("198.51.100.10" in stale and re.search(r"\s30\s+IN\s+A", stale), stale)
    began = time.monotonic()
    check(node, "short.up.example", "A", "NOERROR", "EDE: 3")
    at_once = time.monotonic() - began
    require(at_once < 0.5, f"the second stale answer took {at_once:.2f} s")
    seen = ask(node, "late.up.example")
    require("SERVFAIL" in seen and ("EDE: 22" in seen or "EDE: 23" in seen), seen)
    public.start()
    back = time.monotonic()
    until(lambda: "198.51.100.11" in ask(node, "late.up.example"), 20, "be answered again")
    return at_once, time.monotonic() - back


def run(args):
    for tool in ("dig", "openssl", "unbound", "unbound-control"):
        require(shutil.which(tool), f"{tool} is not installed; try: scripts/setup --test")
    with workspace(args, "forwarding") as directory, upstreams(directory) as (public, home, pem):
        with Net.plan(1, directory / "net") as net:
            node = net[1]
            net.write_configs()
            configure(node, public, home, pem)
            net.start()
            node.wait_for_api(60)
            until(lambda: "status:" in ask(node, "localhost"), 20, "have the node answer")
            ways = check_transports(node, public)
            check_cache(node, public)
            check_rules(node, home)
            check_rebinding(node)
            leaks = check_no_leak(node, public, home)
            at_once, back = check_death(node, public)
            no_panics(net)
    return (f"{ways} transports, {leaks} questions of which none leaked, stale after {1000 * at_once:.0f} ms, "
            f"answered {back:.1f} s after the upstream's return")


main(run, parser(__doc__).parse_args())
