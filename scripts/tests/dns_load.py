#!/usr/bin/env python3
"""Answered queries per second over loopback: dnsperf (Debian's package) against one node, registered names only."""

import re
import shutil
import subprocess

from common import Failed, Net, main, no_panics, parser, require, until, workspace
from harness.wallet import Wallet

NAMES = 10


def run(args):
    if not shutil.which("dnsperf"):
        raise Failed("dnsperf is not installed; try: scripts/setup --test")
    with workspace(args, "dns-load") as directory, Net.plan(2, directory) as net:
        net.up()
        wallet = Wallet(directory / "wallet", net[1]).create()
        for number in range(NAMES):
            wallet.register(f"load-{number:02}", "@ 300 IN A 192.0.2.7\n")
        until(lambda: all(net[2].dig(f"load-{n:02}.p2p") for n in range(NAMES)), 120, "see all names answered", pause=1)
        net[1].stop()  # leaves the cores to the resolver and to dnsperf
        queries = directory / "queries"
        queries.write_text("".join(f"load-{number:02}.p2p A\n" for number in range(NAMES)))
        host, port = net[2].dns.split(":")
        before = net[2].cpu_seconds()
        said = subprocess.run(
            ["dnsperf", "-s", host, "-p", port, "-d", str(queries), "-l", str(args.seconds), "-c", "4", "-q", "200"],
            capture_output=True, text=True, check=True,
        ).stdout
        cpu = net[2].cpu_seconds() - before
        rate = float(re.search(r"Queries per second:\s+([\d.]+)", said)[1])
        lost = re.search(r"Queries lost:\s+(\d+)", said)[1]
        require("NOERROR" in said, f"no answers: {said}")
        no_panics(net)
        return f"{rate:,.0f} answers per second, {rate * args.seconds / cpu:,.0f} per CPU-second of the node, {lost} lost"


arguments = parser(__doc__)
arguments.add_argument("--seconds", type=int, default=10, help="length of the measurement (default %(default)s)")
main(run, arguments.parse_args())
