#!/usr/bin/env python3
"""Upstreams as they are in the world, each with one peculiarity: asked through a node, and through unbound beside it. What
the node says must be right; where unbound says something else, that is written down. At the end no upstream that answers
anything is taken for dead. Then both orders with programs that are in a house already: dnsmasq and unbound in front of the
node and behind it."""

import concurrent.futures
import contextlib
import re
import shutil
import socket
import struct
import subprocess
import urllib.request

import dnswire
import others
import upstream
from common import Net, main, no_panics, parser, require, until, workspace
from harness.net import free_base_port

# Names asked for each peculiarity, one after the other: some things have to be learnt. The last one counts.
TIMES = 3
PATIENCE_S = 6
OPEN = "127.1.1.1"
UNBOUND = """\
    num-threads: 1
    module-config: "iterator"
    use-caps-for-id: yes
    incoming-num-tcp: 200
    do-not-query-localhost: no
    local-zone: "localhost." transparent
    local-zone: "home.arpa." transparent
    {options}
{zones}
"""
ZONE = 'forward-zone:\n    name: "{name}"\n    forward-addr: {host}@{port}\n'


def zone_of(kind):
    if kind in upstream.GUARDED:
        return "open.example"
    return "data.example" if upstream.PECULIARITIES[kind].is_data else f"{kind}.example"


def hosts():
    """The address of the upstream of each zone."""
    zones = sorted({zone_of(kind) for kind in upstream.PECULIARITIES} - {"open.example"})
    return {zone: f"127.1.0.{number}" for number, zone in enumerate(zones, 1)}


def exchange(port, name, rtype):
    """The response over TCP, or None."""
    ident = hash((name, rtype)) & 0xFFFF
    message = dnswire.query(upstream.wire(name), rtype, ident=ident, flags=upstream.RD, edns=(1232, 0, b""))
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), PATIENCE_S) as stream:
        stream.settimeout(PATIENCE_S)
        stream.sendall(struct.pack(">H", len(message)) + message)
        data = b""
        while len(data) < 2 or len(data) < 2 + struct.unpack_from(">H", data)[0]:
            part = stream.recv(65535)
            if not part:
                return None
            data += part
        return dnswire.Message(data[2:])
    return None


def said(port, name, rtype):
    """Code and records of a response, in a form for people."""
    message = exchange(port, name, rtype)
    if message is None:
        return "SERVFAIL", []
    aliases, data = [], []
    for _, kind, _, _, value in message.answer:
        if kind == upstream.CNAME:
            aliases.append(f"CNAME {dnswire.text(value)}")
        elif kind == rtype:
            data.append(f"A {socket.inet_ntoa(value)}" if kind == upstream.A else f"TYPE{kind} {value.hex()}")
    return dnswire.RCODES.get(message.rcode, str(message.rcode)), aliases + sorted(data)


def try_one(port, kind):
    it = upstream.PECULIARITIES[kind]
    for turn in range(TIMES):
        seen = said(port, f"{kind}.q{turn}.{zone_of(kind)}", it.rtype)
    return seen


def is_as(seen, expected):
    return seen[0] == expected[0] and (expected[1] is None or seen[1] == expected[1])


def try_all(port):
    with concurrent.futures.ThreadPoolExecutor(len(upstream.PECULIARITIES)) as pool:
        asking = {kind: pool.submit(try_one, port, kind) for kind in upstream.PECULIARITIES}
        return {kind: future.result() for kind, future in asking.items()}


def compare(node_port, unbound_port):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        ours, theirs = pool.map(try_all, (node_port, unbound_port))
    wrong, differ = [], 0
    for kind, it in upstream.PECULIARITIES.items():
        if not is_as(ours[kind], it.right):
            wrong.append(f"{kind}: the node said {ours[kind]}, right is {it.right}")
        expected = it.unbound or it.right
        differ += it.unbound is not None
        if not is_as(theirs[kind], expected):
            wrong.append(f"{kind}: unbound said {theirs[kind]}, expected was {expected}")
    require(not wrong, "\n  ".join(["", *wrong]))
    return differ


def check_alive(node, port):
    """Only silence makes an upstream dead."""
    text = urllib.request.urlopen(f"http://{node.metrics_listen}/metrics", timeout=10).read().decode()
    up = dict(re.findall(rf'upstream_up{{upstream="udp://([0-9.]+):{port}"}} ([01])', text))
    places = hosts()
    dead = [zone for zone, host in places.items() if up[host] == "0"]
    unexpected = {zone.removesuffix(".example") for zone in dead} - upstream.SILENT
    require(not unexpected, f"taken for dead though they answer: {sorted(unexpected)}")


def configure(node, port):
    rules = "".join(f'    {{ suffix = "{zone}", upstreams = ["{host}:{port}"] }},\n' for zone, host in hosts().items())
    text = node.config.read_text().replace("upstreams = []", f'upstreams = ["{OPEN}:{port}"]', 1)
    node.config.write_text(f'{text}\n[dns.forward]\ncase_randomization = "always"\nrules = [\n{rules}]\n')


def unbound_beside(directory, port, upstream_port):
    directory.mkdir()
    zones = "".join(ZONE.format(name=zone, host=host, port=upstream_port) for zone, host in hosts().items())
    zones += ZONE.format(name=".", host=OPEN, port=upstream_port)
    return others.unbound(directory, port, UNBOUND.format(options="", zones=zones))


@contextlib.contextmanager
def running(command, directory, port):
    """A server that answers on a port of loopback."""
    with open(directory / "output.log", "ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until(lambda: exchange(port, "localhost", upstream.A) is not None, 15, f"have {command[0]} answer")
        yield
    finally:
        process.terminate()
        process.wait(10)


def dnsmasq(directory, port, server_port):
    """As it stands on a router: the node for everything, names of the house from a file."""
    directory.mkdir()
    (directory / "hosts").write_text("192.168.77.5 printer.home.arpa\n")
    return ["dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", f"--addn-hosts={directory}/hosts", "--pid-file=",
            f"--port={port}", "--listen-address=127.0.0.1", "--bind-interfaces", f"--server=127.0.0.1#{server_port}",
            "--conf-file=/dev/null", "--user=", "--domain-needed"]


def check_house(directory, node, node_port, port):
    """Programs of a house before the node, and behind it."""
    tried = []
    good = ("NOERROR", [f"A {upstream.PUBLIC}"])
    reach = lambda at, name, expected: require(
        is_as(seen := said(at, name, upstream.A), expected), f"port {at}: {name} is {seen}, not {expected}")
    front = {"unbound": port + 1}
    (directory / "front").mkdir()
    options = 'domain-insecure: "p2p."\n    private-domain: "p2p."'
    command = others.unbound(directory / "front", port + 1, UNBOUND.format(
        options=options, zones=ZONE.format(name=".", host="127.0.0.1", port=node_port)))
    with contextlib.ExitStack() as stack:
        stack.enter_context(running(command, directory / "front", port + 1))
        if shutil.which("dnsmasq"):
            front["dnsmasq"] = port + 2
            stack.enter_context(running(dnsmasq(directory / "masq", port + 2, node_port), directory / "masq", port + 2))
        for name, at in front.items():
            reach(at, "www.front.example", good)
            code, data = said(at, "p2p", upstream.SOA)
            require(code == "NOERROR" and len(data) == 1, f"{name} in front: p2p SOA is {code} {data}")
            reach(at, "rebinding.front.example", ("NOERROR", []))
            tried.append(f"{name} in front")
        if "dnsmasq" in front:
            # Behind it: the node's rule for the house, opened by its suffix.
            node.stop()
            text = node.config.read_text().replace(
                "rules = [\n", f'rules = [\n    {{ suffix = "home.arpa", upstreams = ["127.0.0.1:{port + 2}"] }},\n', 1)
            node.config.write_text(text)
            node.start()
            node.wait_for_api(60)
            until(lambda: exchange(node_port, "localhost", upstream.A) is not None, 20, "have the node answer")
            reach(node_port, "printer.home.arpa", ("NOERROR", ["A 192.168.77.5"]))
            tried.append("dnsmasq behind")
    return tried


def run(args):
    require(shutil.which("unbound"), "unbound is not installed; try: scripts/setup --test")
    port = free_base_port(4)
    with workspace(args, "upstreams") as directory, contextlib.ExitStack() as stack:
        for host in (*hosts().values(), OPEN):
            stack.enter_context(upstream.Upstream(host, port).running())
        command = unbound_beside(directory / "unbound", port + 3, port)
        stack.enter_context(running(command, directory / "unbound", port + 3))
        with Net.plan(1, directory / "net") as net:
            node = net[1]
            net.write_configs()
            configure(node, port)
            net.start()
            node.wait_for_api(60)
            node_port = int(node.dns.rsplit(":", 1)[1])
            until(lambda: exchange(node_port, "localhost", upstream.A) is not None, 20, "have the node answer")
            until(lambda: (seen := exchange(node_port, "p2p", upstream.SOA)) and seen.rcode == 0, 30, "have the node ready")
            differ = compare(node_port, port + 3)
            check_alive(node, port)
            tried = check_house(directory, node, node_port, port)
            no_panics(net)
    return (f"{len(upstream.PECULIARITIES)} peculiarities, of which unbound differs in {differ}; "
            f"nothing alive was taken for dead; {', '.join(tried)}")


main(run, parser(__doc__).parse_args())
