#!/usr/bin/env python3
"""A node that serves DNS to strangers, in a network namespace of its own, attacked from another one.

Forged queries from one /24, a thousand and a hundred thousand a second: in the long run the node's interface gives out at
most three times what comes in. Meanwhile a client in that same /24 that has a cookie gets at least 99 % of its answers,
99 % of them within 10 ms. Then random names without number, with and without DNSSEC, thousands of idle connections, and
clients that ask and never read, over TCP, TLS and HTTPS: memory stays flat, and the client is still served as well. Needs
root.
"""

import contextlib
import json
import os
import pathlib
import random
import resource
import select
import socket
import ssl
import struct
import subprocess
import sys
import time

from common import Failed, Net, main, no_panics, parser, require, until, workspace
from harness.net import free_base_port
from harness.netns import Links
from harness.node import Node
from mutate import Https

SERVER, ATTACKER, CLIENT = 1, 2, 3
# The forged /24. One address in it is the honest client's own.
FORGED = "198.51.100."
HONEST = FORGED + "7"
# Where slow readers come from: many networks, for one alone gets a share of the connections only.
CROWD, CROWD_SOURCES = "100.64.0.0/16", [f"100.64.{number}.1" for number in range(8)]
LATENCY_MS = 10
SERVED = 0.99
AMPLIFICATION = 3
# In reality these are different machines. Here they share one with whatever else runs: what is measured is how long the
# resolver takes, so its UDP threads and the honest client do not wait for other programs.
NICE = {SERVER: -10, CLIENT: -15, ATTACKER: 10}
# What `dns.connections.max` is.
CONNECTIONS = 512
# Processes that hold idle connections.
CROWDS = 5
# What the cache of signatures may take at most, and a little for everything that grows with time.
GROWTH_KIB = 24 * 1024
DNSKEY, SOA, A, ANY, TXT = 48, 6, 1, 255, 16


# --- questions ----------------------------------------------------------------------------------------------------


def question(name, rtype, number=0, edns=True, dnssec=False, cookie=b""):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    message = struct.pack(">HHHHHH", number & 0xFFFF, 0x0100, 1, 0, 0, int(edns)) + labels + struct.pack(">BHH", 0, rtype, 1)
    if edns:
        option = struct.pack(">HH", 10, len(cookie)) + cookie if cookie else b""
        message += struct.pack(">BHHBBHH", 0, 41, 1232, 0, 0, 0x8000 if dnssec else 0, len(option)) + option
    return message


def mix(number):
    """What an attacker asks for: much for little."""
    kinds = [
        question("p2p", DNSKEY, number, dnssec=True),
        question("p2p", ANY, number, dnssec=True),
        question(f"n{number}.p2p", A, number, dnssec=True),
        question("p2p", SOA, number, dnssec=True),
        question("x.p2p", A, number, edns=False),
        question("example.com", A, number),
    ]
    return kinds[number % len(kinds)]


def forged(server, port, number):
    """The packet with IP and UDP headers; the kernel adds the checksum of the former, the latter may do without."""
    payload = mix(number)
    udp = struct.pack(">HHHH", 1024 + number * 7 % 60000, port, 8 + len(payload), 0)
    source, target = socket.inet_aton(FORGED + str(number % 256)), socket.inet_aton(server)
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_UDP, 0, source, target)
    return ip + udp + payload


# --- what runs inside a namespace ---------------------------------------------------------------------------------


def flood(server, port, seconds, per_second):
    """Sends forged packets, no more than that many a second."""
    way = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    packets = [forged(server, port, number) for number in range(6 * 256)]
    began, sent = time.monotonic(), 0
    while (passed := time.monotonic() - began) < seconds:
        due = min(512, int(passed * per_second) - sent)
        for number in range(sent, sent + due):
            with contextlib.suppress(OSError):
                way.sendto(packets[number % len(packets)], (server, 0))
        sent += due
        time.sleep(0.0005)
    return {"sent": sent}


def come_first(thread=0):
    with contextlib.suppress(OSError):
        os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(1))


def connected(server, port, source):
    way = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    way.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    way.bind((source, 0))
    way.connect((server, port))
    return way


def learn(way):
    """The cookie for this address: it is the end of the answer."""
    way.settimeout(2)
    for _ in range(10):
        way.send(question("x.p2p", A, 1, cookie=b"honestly"))
        with contextlib.suppress(TimeoutError):
            answer = way.recv(2048)
            if b"\x00\x0a\x00\x18honestly" in answer:
                return answer[-24:]
    raise RuntimeError("learnt no cookie")


def honest(server, port, seconds, source):
    """Asks 200 times a second, alternating between names and the suffix itself, and measures."""
    come_first()
    way = connected(server, port, source)
    cookie = learn(way)
    way.settimeout(0.5)
    began, asked, times = time.monotonic(), 0, []
    while time.monotonic() - began < seconds:
        asked += 1
        query = question(*(("p2p", SOA) if asked % 2 else ("nobody.p2p", A)), asked, cookie=cookie)
        sent = time.perf_counter()
        way.send(query)
        with contextlib.suppress(TimeoutError):
            while (answer := way.recv(2048))[:2] != query[:2]:
                pass
            if not answer[2] & 2:
                times.append(time.perf_counter() - sent)
        time.sleep(max(0, began + asked * 0.005 - time.monotonic()))
    times.sort()
    at = lambda share: round(1000 * times[min(len(times) - 1, int(share * len(times)))], 2) if times else None
    return {"asked": asked, "served": len(times), "p50_ms": at(0.5), "p99_ms": at(0.99)}


def names(server, port, count, source, dnssec):
    """Asks for `count` names that nobody has asked for before, 64 at a time, with a cookie, so that all are answered."""
    way, made = connected(server, port, source), random.Random()
    cookie, answered, truncated, asked = learn(way), 0, 0, 0
    way.setblocking(False)
    while asked < count:
        for number in range(64):
            way.send(question(f"{made.getrandbits(64):x}.p2p", A, number, dnssec=dnssec, cookie=cookie))
        asked += 64
        waiting = 64
        while waiting and select.select([way], [], [], 0.5)[0]:
            with contextlib.suppress(BlockingIOError):
                while True:
                    answer = way.recv(2048)
                    waiting -= 1
                    answered += 1
                    truncated += answer[2] >> 1 & 1
    return {"asked": asked, "answered": answered, "told_to_come_by_tcp": truncated}


def idle(server, port, count, seconds):
    """Opens connections and does nothing with them; a fiftieth of them asks without end and reads nothing."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    query = question("p2p", DNSKEY, 5, dnssec=True)
    greedy = (struct.pack(">H", len(query)) + query) * 2000
    ways, refused = [], 0
    for number in range(count):
        way = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        way.settimeout(2)
        try:
            way.connect((server, port))
            way.setblocking(False)
            if number % 50 == 0:
                way.send(greedy)
            ways.append(way)
        except OSError:
            refused += 1
    time.sleep(seconds)
    return {"opened": len(ways), "refused": refused}


def slow_readers(server, tls, https, count, sources, seconds):
    """Opens encrypted connections from several networks that ask and read nothing, in three ways: DNS over TLS; HTTPS with
    whole requests and no room for responses; HTTPS with requests that never end."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    query = question("p2p", DNSKEY, 5, dnssec=True)
    framed = struct.pack(">H", len(query)) + query
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "dot"])
    kinds, ways, refused = ("tls", "https", "unended"), [], 0
    for number in range(count):
        kind = kinds[number % 3]
        try:
            way = socket.create_connection((server, tls if kind == "tls" else https), 3, (sources[number % len(sources)], 0))
            way = context.wrap_socket(way, server_hostname="ns.nic.p2p")
            if kind == "tls":
                way.sendall(framed * 60)
            else:
                # Windows of nothing.
                way.sendall(Https.PREFACE + Https.frame(4, 0, 0, struct.pack(">HI", 4, 0)))
                requests = [Https.post(query, 1 + 2 * stream) for stream in range(60)]
                # The last frame of each is its body.
                way.sendall(b"".join(head + body if kind == "https" else head for head, body in requests))
            way.setblocking(False)
            ways.append(way)
        except OSError:
            refused += 1
    time.sleep(seconds)
    return {"opened": len(ways), "refused": refused}


def over_tls(server, port, count, source):
    """One query over TLS on a connection of its own, again and again."""
    served, query = 0, question("p2p", SOA, 3)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for _ in range(count):
        with contextlib.suppress(OSError), socket.create_connection((server, port), 5, (source, 0)) as way:
            with context.wrap_socket(way, server_hostname="ns.nic.p2p") as way:
                way.sendall(struct.pack(">H", len(query)) + query)
                served += len(way.recv(2048)) > 0
        time.sleep(0.02)
    return {"asked": count, "served": served}


def over_tcp(server, port, count, source):
    """One query on a connection of its own, again and again."""
    served, why_not, query = 0, [], question("p2p", SOA, 3)
    for number in range(count):
        began = time.monotonic()
        try:
            with socket.create_connection((server, port), 5, (source, 0)) as way:
                way.sendall(struct.pack(">H", len(query)) + query)
                reply = way.recv(2048)
                served += len(reply) > 14
                if len(reply) <= 14:
                    why_not.append(f"query {number}: {len(reply)} bytes after {time.monotonic() - began:.3f} s")
        except OSError as error:
            why_not.append(f"query {number}: {error!r} after {time.monotonic() - began:.3f} s")
        time.sleep(0.02)
    return {"asked": count, "served": served, "why_not": why_not}


def metrics(address):
    import urllib.request

    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        return answer.read().decode()


ROLES = {made.__name__: made for made in (flood, honest, names, idle, slow_readers, over_tcp, over_tls, metrics)}


# --- outside ------------------------------------------------------------------------------------------------------


class Part:
    """One of these roles, at work in a namespace."""

    def __init__(self, namespace, nice, role, *arguments):
        words = json.dumps([role, arguments])
        command = ["nice", "-n", str(nice), "ip", "netns", "exec", namespace, sys.executable, "-B", str(pathlib.Path(__file__).resolve())]
        self.process = subprocess.Popen([*command, "--role", words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def result(self):
        try:
            said, complaint = self.process.communicate(timeout=240)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failed("a part of the test does not end") from None
        require(self.process.returncode == 0, f"a part of the test failed: {complaint}")
        return json.loads(said)


class Scene:
    """The node and those around it."""

    def __init__(self, directory, links):
        self.links = links
        node = Node("node1", directory / "node1", free_base_port(1), host=links.address(SERVER), namespace=self.name(SERVER))
        self.port = node.p2p_port + 1
        self.tls, self.https = self.port + 3, self.port + 4
        self.server = links.address(SERVER)
        node.dns = f"{self.server}:{self.port}"
        self.node, self.net = node, Net(directory, [node])
        self._route()

    def name(self, number):
        return self.links.names[number - 1]

    def _ip(self, number, *words):
        subprocess.run(["ip", "-n", self.name(number), *words], check=True, capture_output=True)

    def _route(self):
        """Answers to forged queries go to the attacker, so that they are really sent; the honest one's go to it."""
        self._ip(SERVER, "route", "add", FORGED + "0/24", "via", self.links.address(ATTACKER))
        self._ip(SERVER, "route", "add", HONEST, "via", self.links.address(CLIENT))
        self._ip(CLIENT, "addr", "add", HONEST + "/32", "dev", "lo")
        self._ip(SERVER, "route", "add", CROWD, "via", self.links.address(ATTACKER))
        for source in CROWD_SOURCES:
            self._ip(ATTACKER, "addr", "add", source + "/32", "dev", "lo")

    def offer_tls(self):
        """Adds DNS over TLS and HTTPS to the settings."""
        text = self.node.config.read_text()
        self.node.config.write_text(f'{text}\n[dns.tls]\nlisten = ["{self.server}:{self.tls}"]\nhttps_listen = ["{self.server}:{self.https}"]\n')

    def part(self, number, role, *arguments, port=None):
        return Part(self.name(number), NICE[number], role, self.server, port or self.port, *arguments)

    def hurry(self):
        for thread in pathlib.Path(f"/proc/{self.node.pid}/task").iterdir():
            os.setpriority(os.PRIO_PROCESS, int(thread.name), NICE[SERVER])
            if (thread / "comm").read_text().startswith("dns-udp"):
                come_first(int(thread.name))

    def honest(self, seconds):
        return self.part(CLIENT, "honest", seconds, HONEST)

    def counted(self):
        """Bytes of DNS in and out at the node's interface, and bytes with all headers."""
        said = subprocess.run(["ip", "-n", self.name(SERVER), "-j", "-s", "link", "show", "eth0"],
                              check=True, capture_output=True, text=True).stdout
        stats = json.loads(said)[0]["stats64"]
        return {way: (stats[way]["bytes"] - 42 * stats[way]["packets"], stats[way]["bytes"]) for way in ("rx", "tx")}

    def metric(self, line):
        text = Part(self.name(SERVER), 0, "metrics", self.node.metrics_listen).result()
        return sum(float(have.rsplit(" ", 1)[1]) for have in text.splitlines() if have.startswith(line))


def served_well(result, when):
    share = result["served"] / result["asked"]
    require(share >= SERVED, f"{when}: {share:.1%} of the honest client's queries were answered: {result}")
    require(result["p99_ms"] <= LATENCY_MS, f"{when}: the honest client's p99 is above {LATENCY_MS} ms: {result}")
    return f"honest client {share:.1%} served, p99 {result['p99_ms']} ms"


def attack(scene, per_second, seconds):
    """The ratio at the interface once the first second, with its burst, is over."""
    client, attacker = scene.honest(seconds + 2), scene.part(ATTACKER, "flood", seconds + 2, per_second)
    time.sleep(1.5)
    before = scene.counted()
    time.sleep(seconds)
    after = scene.counted()
    sent, result = attacker.result()["sent"], client.result()
    ratios = [(after["tx"][kind] - before["tx"][kind]) / (after["rx"][kind] - before["rx"][kind]) for kind in (0, 1)]
    rate = sent / (seconds + 2)
    require(rate > max(500, 0.3 * per_second), f"only {rate:.0f} of {per_second} forged queries a second were sent")
    require(max(ratios) <= AMPLIFICATION, f"{rate:.0f} forged queries a second came back {max(ratios):.2f}-fold")
    good = served_well(result, f"{rate:.0f} forged queries a second")
    return f"{rate:,.0f} forged queries a second: {ratios[0]:.2f} bytes of DNS out per byte in ({ratios[1]:.2f} with headers), {good}"


def random_names(scene, count, dnssec):
    before = scene.node.resident_kib()
    busy = scene.part(CLIENT, "names", count, scene.links.address(CLIENT), dnssec)
    began = time.monotonic()
    seconds = max(2, count / 40_000)
    client = scene.honest(seconds)
    result, seen = client.result(), busy.result()
    took, grown = time.monotonic() - began, scene.node.resident_kib() - before
    require(seen["answered"] >= 0.99 * seen["asked"], f"random names: {seen}")
    require(grown <= GROWTH_KIB, f"{count} random names took {grown} KiB of memory")
    kind = "with DNSSEC" if dnssec else "without DNSSEC"
    return (f"{seen['asked']:,} random names {kind} in {took:.1f} s ({seen['told_to_come_by_tcp']:,} told to come by TCP): "
            f"memory {grown / 1024:+.1f} MiB, {served_well(result, 'random names')}")


def idle_connections(scene, count, seconds):
    before = scene.node.resident_kib()
    # In several processes, for each may have so many files only.
    crowds = [scene.part(ATTACKER, "idle", count // CROWDS, seconds + 2) for _ in range(CROWDS)]
    client, tcp = scene.honest(seconds), scene.part(CLIENT, "over_tcp", 50, scene.links.address(CLIENT))
    result, tcp = client.result(), tcp.result()
    open_now = scene.metric("namestead_dns_connections{")
    grown = scene.node.resident_kib() - before
    seen = [crowd.result() for crowd in crowds]
    require(sum(part["opened"] for part in seen) >= SERVED * count, f"idle connections: {seen}")
    require(tcp["served"] >= SERVED * tcp["asked"], f"beside idle connections, of queries over TCP were served: {tcp}")
    require(grown <= GROWTH_KIB, f"{count} connections took {grown} KiB of memory")
    return (f"{count:,} idle connections and slow readers ({open_now:.0f} kept): memory {grown / 1024:+.1f} MiB, "
            f"{tcp['served']} of {tcp['asked']} served over TCP, {served_well(result, 'idle connections')}")


def slow_encrypted(scene, count, seconds):
    before = scene.node.resident_kib()
    crowd = scene.part(ATTACKER, "slow_readers", scene.https, count, CROWD_SOURCES, seconds + 4, port=scene.tls)
    until(lambda: scene.metric("namestead_dns_connections{") >= min(count, CONNECTIONS) * 0.9, 60, "see the slow readers' connections")
    client, tls = scene.honest(seconds), scene.part(CLIENT, "over_tls", 50, scene.links.address(CLIENT), port=scene.tls)
    result, tls = client.result(), tls.result()
    open_now = scene.metric("namestead_dns_connections{")
    grown = scene.node.resident_kib() - before
    seen = crowd.result()
    require(tls["served"] >= SERVED * tls["asked"], f"beside slow readers, of queries over TLS were served: {tls}")
    require(grown <= GROWTH_KIB, f"{count} slow readers took {grown} KiB of memory")
    return (f"{seen['opened']:,} slow readers over TLS and HTTPS ({open_now:.0f} kept): memory {grown / 1024:+.1f} MiB, "
            f"{tls['served']} of {tls['asked']} served over TLS, {served_well(result, 'slow readers')}")


def run(args):
    if os.geteuid() != 0:
        raise Failed("network namespaces and raw sockets need root")
    with workspace(args, "guard") as directory, Links(3) as links:
        scene = Scene(directory, links)
        with scene.net as net:
            net.write_configs()
            scene.offer_tls()
            net.start()
            net.wait_until_producing(60)
            log = scene.node.log.read_text(errors="replace")
            require("dns is open beyond this machine" in log, "the log does not say what is open")
            scene.hurry()
            lines = []

            def note(text):
                lines.append(text)
                print(f"  {text}", flush=True)

            note("undisturbed: " + served_well(scene.honest(2).result(), "undisturbed"))
            note(attack(scene, 1_000, args.seconds))
            note(attack(scene, args.rate, args.seconds))
            limited = scene.metric("namestead_dns_limited_total{")
            require(limited > 1000, f"only {limited} queries were limited")
            for dnssec in (False, True):
                note(random_names(scene, args.names, dnssec))
            note(idle_connections(scene, args.connections, 3))
            note(slow_encrypted(scene, args.readers, 3))
            until(lambda: scene.honest(1).result()["served"] > 0, 10, "be served after all that")
            no_panics(net)
            return f"amplification at most {AMPLIFICATION}, memory flat, the honest client served in {len(lines)} situations"


arguments = parser(__doc__)
arguments.add_argument("--seconds", type=int, default=4, help="length of each flood (default %(default)s)")
arguments.add_argument("--rate", type=int, default=100_000, help="forged queries a second (default %(default)s)")
arguments.add_argument("--names", type=int, default=60_000, help="random names of each kind (default %(default)s)")
arguments.add_argument("--connections", type=int, default=5_000, help="idle connections (default %(default)s)")
arguments.add_argument("--readers", type=int, default=900, help="slow readers over TLS and HTTPS (default %(default)s)")
arguments.add_argument("--role", help="used by the test itself, inside a namespace")
chosen = arguments.parse_args()
if chosen.role:
    role, given = json.loads(chosen.role)
    print(json.dumps(ROLES[role](*given)))
else:
    main(run, chosen)
