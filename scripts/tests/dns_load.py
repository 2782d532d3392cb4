#!/usr/bin/env python3
"""Answered queries per second over loopback, by UDP, TCP, TLS and HTTPS in turn: dnsperf and h2load (Debian's packages)
against one node, registered names only."""

import re
import shutil
import subprocess

from common import Failed, Net, main, no_panics, over_https, parser, require, until, workspace
from dnswire import query, wire
from harness.wallet import Wallet

NAMES = 10
# How far the ports of encrypted transports are from that of plain DNS, and what dnsperf calls each transport.
TLS, HTTPS = 4, 5
MODES = {"udp": 0, "tcp": 0, "dot": TLS}


def load(node, mode, queries, seconds):
    host, port = node.dns.split(":")
    before = node.cpu_seconds()
    said = subprocess.run(
        ["dnsperf", "-m", mode, "-s", host, "-p", str(int(port) + MODES[mode]), "-d", str(queries), "-l", str(seconds),
         "-c", "4", "-q", "200"],
        capture_output=True, text=True, check=True,
    ).stdout
    cpu = node.cpu_seconds() - before
    require("NOERROR" in said, f"no answers: {said}")
    rate = float(re.search(r"Queries per second:\s+([\d.]+)", said)[1])
    lost = re.search(r"Queries lost:\s+(\d+)", said)[1]
    require(lost == "0" or mode == "udp", f"{lost} queries over {mode} lost")
    return f"{mode} {rate:,.0f} answers per second, {rate * seconds / cpu:,.0f} per CPU-second of the node, {lost} lost"


def load_https(node, port, count=400_000):
    before = node.cpu_seconds()
    rate = over_https(port, query(wire([b"load-00", b"p2p"]), 1), count)
    cpu = node.cpu_seconds() - before
    return f"https {rate:,.0f} answers per second, {count / cpu:,.0f} per CPU-second of the node, 0 lost"


def run(args):
    for name in ("dnsperf", "h2load"):
        if not shutil.which(name):
            raise Failed(f"{name} is not installed; try: scripts/setup --test")
    with workspace(args, "dns-load") as directory, Net.plan(2, directory) as net:
        net.write_configs()
        port = int(net[2].dns.split(":")[1])
        tls = f'\n[dns.tls]\nlisten = ["127.0.0.1:{port + TLS}"]\nhttps_listen = ["127.0.0.1:{port + HTTPS}"]\n'
        net[2].config.write_text(net[2].config.read_text() + tls)
        net.start()
        net.wait_until_producing(60)
        wallet = Wallet(directory / "wallet", net[1]).create()
        for number in range(NAMES):
            wallet.register(f"load-{number:02}", "@ 300 IN A 192.0.2.7\n")
        until(lambda: all(net[2].dig(f"load-{n:02}.p2p") for n in range(NAMES)), 120, "see all names answered", pause=1)
        net[1].stop()  # leaves the cores to the resolver and to dnsperf
        queries = directory / "queries"
        queries.write_text("".join(f"load-{number:02}.p2p A\n" for number in range(NAMES)))
        lines = [load(net[2], mode, queries, args.seconds) for mode in MODES]
        lines.append(load_https(net[2], port + HTTPS))
        no_panics(net)
        return "; ".join(lines)


arguments = parser(__doc__)
arguments.add_argument("--seconds", type=int, default=10, help="length of the measurement (default %(default)s)")
main(run, arguments.parse_args())
