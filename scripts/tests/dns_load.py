#!/usr/bin/env python3
"""Answered queries per second over loopback, by UDP, TCP, TLS and HTTPS in turn: dnsperf and h2load (Debian's packages)
against one node, registered names only. Last a table of medians; the share of TLS says what an answer costs beside one
over TLS."""

import re
import shutil
import statistics
import subprocess

from common import Failed, Net, main, no_panics, over_https, parser, require, until, workspace
from dnswire import query, wire
from harness.wallet import Wallet

NAMES = 10
# How far the ports of encrypted transports are from that of plain DNS, and what dnsperf calls each transport.
TLS, HTTPS = 4, 5
MODES = {"udp": 0, "tcp": 0, "dot": TLS}


def load(node, mode, queries, seconds):
    """Answers per second, and per second of the node's processor time."""
    host, port = node.dns.split(":")
    before = node.cpu_seconds()
    said = subprocess.run(
        ["dnsperf", "-m", mode, "-s", host, "-p", str(int(port) + MODES[mode]), "-d", str(queries), "-l", str(seconds),
         "-c", "4", "-q", "200"],
        capture_output=True, text=True, check=True,
    ).stdout
    cpu = node.cpu_seconds() - before
    require("NOERROR" in said, f"no answers: {said}")
    completed, lost = (int(re.search(rf"Queries {what}:\s+(\d+)", said)[1]) for what in ("completed", "lost"))
    require(lost == 0 or mode == "udp", f"{lost} queries over {mode} lost")
    return float(re.search(r"Queries per second:\s+([\d.]+)", said)[1]), completed / cpu, lost


def load_https(node, port, count=400_000):
    before = node.cpu_seconds()
    rate = over_https(port, query(wire([b"load-00", b"p2p"]), 1), count)
    return rate, count / (node.cpu_seconds() - before), 0


def table(seen):
    line = "{:<6} {:>10} {:>14} {:>13} {:>5}".format
    print(line("", "answers/s", "per CPU-second", "share of TLS", "lost"))
    efficiency = {mode: statistics.median(one[1] for one in measured) for mode, measured in seen.items()}
    for mode, measured in seen.items():
        rate = statistics.median(one[0] for one in measured)
        share = efficiency[mode] / efficiency["dot"]
        print(line(mode, f"{rate:,.0f}", f"{efficiency[mode]:,.0f}", f"{share:.2f}", sum(one[2] for one in measured)))


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
        seen = {mode: [] for mode in (*MODES, "https")}
        for _ in range(args.rounds):
            for mode in MODES:
                seen[mode].append(load(net[2], mode, queries, args.seconds))
            seen["https"].append(load_https(net[2], port + HTTPS))
        no_panics(net)
        table(seen)
        return f"medians of {args.rounds} rounds"


arguments = parser(__doc__)
arguments.add_argument("--seconds", type=int, default=4, help="length of one measurement (default %(default)s)")
arguments.add_argument("--rounds", type=int, default=5, help="measurements of each transport (default %(default)s)")
main(run, arguments.parse_args())
