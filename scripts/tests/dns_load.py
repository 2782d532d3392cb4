#!/usr/bin/env python3
"""Answered queries per second over loopback, by UDP, TCP, TLS and HTTPS in turn: dnsperf (Debian's package) against one
node, registered names only."""

import re
import shutil
import subprocess

from common import Failed, Net, main, no_panics, parser, require, until, workspace
from harness.wallet import Wallet

NAMES = 10
# What dnsperf calls a transport, how far its port is from that of plain DNS, and what else it has to know.
MODES = {"udp": (0, []), "tcp": (0, []), "dot": (4, []), "doh": (5, ["-O", "doh-uri=https://ns.nic.p2p/dns-query"])}


def load(node, mode, queries, seconds):
    distance, options = MODES[mode]
    host, port = node.dns.split(":")
    before = node.cpu_seconds()
    said = subprocess.run(
        ["dnsperf", "-m", mode, "-s", host, "-p", str(int(port) + distance), "-d", str(queries), "-l", str(seconds),
         "-c", "4", "-q", "200", *options],
        capture_output=True, text=True, check=True,
    ).stdout
    cpu = node.cpu_seconds() - before
    require("NOERROR" in said or mode == "doh", f"no answers: {said}")
    rate = float(re.search(r"Queries per second:\s+([\d.]+)", said)[1])
    lost = re.search(r"Queries lost:\s+(\d+)", said)[1]
    return f"{mode} {rate:,.0f} answers per second, {rate * seconds / cpu:,.0f} per CPU-second of the node, {lost} lost"


def run(args):
    if not shutil.which("dnsperf"):
        raise Failed("dnsperf is not installed; try: scripts/setup --test")
    with workspace(args, "dns-load") as directory, Net.plan(2, directory) as net:
        net.write_configs()
        port = int(net[2].dns.split(":")[1])
        tls = f'\n[dns.tls]\nlisten = ["127.0.0.1:{port + 4}"]\nhttps_listen = ["127.0.0.1:{port + 5}"]\n'
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
        no_panics(net)
        return "; ".join(lines)


arguments = parser(__doc__)
arguments.add_argument("--seconds", type=int, default=10, help="length of the measurement (default %(default)s)")
main(run, arguments.parse_args())
