#!/usr/bin/env python3
"""What an idle full node costs: resident memory and processor time with mining off, over a minute.

Measured twice: a node alone, and a node that follows a network whose two other nodes mine a block every two seconds
(sixty times the pace of the main network). The promise, 150 MiB and 2 % of one core, is for the first.
"""

import time

from common import Net, main, no_panics, parser, require, workspace


def measure(node, seconds):
    """(MiB resident at the end, percent of one core)."""
    cpu, began = node.cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    return node.resident_kib() / 1024, 100 * (node.cpu_seconds() - cpu) / (time.monotonic() - began)


def run(args):
    with workspace(args, "idle") as directory, Net.plan(3, directory) as net:
        idle = net[3]
        idle.write_config(mining="off")
        idle.start().wait_for_api()
        time.sleep(args.settle)
        alone = measure(idle, args.seconds)
        idle.stop()
        for node in (net[1], net[2]):
            node.write_config(peers=[] if node is net[1] else [net[1].p2p])
            node.start()
        idle.write_config(peers=[net[1].p2p, net[2].p2p], mining="off")
        idle.start()
        net.wait_until_producing()
        time.sleep(args.settle)
        before = idle.api().status()["height"]
        following = measure(idle, args.seconds)
        blocks = idle.api().status()["height"] - before
        no_panics(net)
        print(f"  alone:     {alone[0]:.0f} MiB, {alone[1]:.2f} % of one core")
        print(f"  following: {following[0]:.0f} MiB, {following[1]:.2f} % of one core, {blocks} blocks in {args.seconds} s")
        require(alone[0] <= 150 and alone[1] <= 2, "an idle node must stay within 150 MiB and 2 % of one core")
        require(following[0] <= 150, "a following node must stay within 150 MiB")
        return f"{alone[0]:.0f} MiB and {alone[1]:.2f} % idle"


arguments = parser(__doc__)
arguments.add_argument("--seconds", type=int, default=60, help="length of each measurement (default %(default)s)")
arguments.add_argument("--settle", type=int, default=5, help="wait before each (default %(default)s)")
main(run, arguments.parse_args())
