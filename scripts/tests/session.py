#!/usr/bin/env python3
"""The shortest story: a name registered through node 1 is answered by node 3's DNS, in a fresh network of three."""

import time

from common import Net, main, no_panics, parser, require, until, workspace
from harness.wallet import Wallet

ZONE = '@ 300 IN A 192.0.2.7\n@ 300 IN TXT "hello from node 1"\nwww 300 IN CNAME hello.p2p.\n'


def run(args):
    with workspace(args, "session") as directory, Net.plan(3, directory) as net:
        began = time.monotonic()
        net.up()
        up = time.monotonic() - began
        operation = Wallet(directory / "wallet", net[1]).create().register("hello", ZONE, wait=True)
        require(operation["state"] == "done", f"registration ended as {operation['state']}: {operation.get('error')}")
        answer = until(lambda: net[3].dig("hello.p2p"), 10, "see the name in node 3's DNS")
        took = time.monotonic() - began
        require(answer == "192.0.2.7", f"node 3 answers {answer!r}")
        require("hello from node 1" in net[2].dig("hello.p2p", "TXT"), "node 2 lacks the TXT record")
        require("192.0.2.7" in net[2].dig("www.hello.p2p"), "the CNAME is not followed")
        status = net[3].dig("nobody-has-this.p2p", options=("+noall", "+comments"))
        require("NXDOMAIN" in status, f"a free name is not NXDOMAIN: {status}")
        require(took <= 60, f"took {took:.0f} s, at most 60 are promised")
        no_panics(net)
        return f"three nodes up after {up:.1f} s, answer of node 3 after {took:.1f} s"


main(run, parser(__doc__).parse_args())
