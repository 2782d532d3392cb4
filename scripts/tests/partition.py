#!/usr/bin/env python3
"""Five nodes in network namespaces, split two against three for a minute with registrations on both sides, then healed.

Both sides register names of their own and, at the same time, one and the same name. After the healing all nodes must
have one tip within 15 seconds and equal state roots; the contested name has one owner everywhere, and the user who
lost it is told: the operation ends as failed. All other registrations succeed; those whose anchor block the healing
replaced ask for a new signature, which the user gives. Needs root.
"""

import os
import time

from common import Failed, Net, main, no_panics, parser, require, state_root, until, workspace
from harness.net import free_base_port
from harness.netns import Links
from harness.node import Node
from harness.wallet import Wallet

HEAL_SECONDS = 15
MINORITY = (1, 2)


def plan(directory, links):
    base = free_base_port(1)
    nodes = [
        Node(f"node{k}", directory / f"node{k}", base, host=links.address(k), namespace=name)
        for k, name in enumerate(links.names, start=1)
    ]
    return Net(directory, nodes)


def tips(net, numbers):
    return {net[k].api().status()["hash"] for k in numbers}


def register_on_both_sides(wallets, seconds):
    """Registers until the time is over; the operations by side and name. "contested" is on both."""
    deadline, operations = time.monotonic() + seconds, [{}, {}]
    for side, wallet in enumerate(wallets):
        operations[side]["contested"] = wallet.register("contested")["id"]
    number = 0
    while time.monotonic() < deadline - 2:
        number += 1
        for side, wallet in enumerate(wallets):
            name = f"side{side}-{number:02}"
            operations[side][name] = wallet.register(name)["id"]
        time.sleep(2)
    time.sleep(max(0, deadline - time.monotonic()))
    return operations


def look(wallets, operations):
    """Every operation as (wallet, name, operation) with its present state."""
    return [
        (wallet, name, wallet.node.api().get(f"/v1/operations/{id}"))
        for wallet, side in zip(wallets, operations) for name, id in side.items()
    ]


def all_final(wallets, operations):
    for wallet in wallets:
        wallet.sign_again()
    seen = look(wallets, operations)
    return seen if all(o["state"] in ("done", "failed", "cancelled") for _, _, o in seen) else None


def settled(wallets, operations):
    """The end of all operations, once the contested name has a loser."""
    seen = all_final(wallets, operations)
    contested = sorted(o["state"] for _, name, o in seen or [] if name == "contested")
    return seen if contested == ["done", "failed"] else None


def run(args):
    if os.geteuid() != 0:
        raise Failed("network namespaces need root")
    with workspace(args, "partition") as directory, Links(5) as links, plan(directory, links) as net:
        net.up()
        wallets = [Wallet(directory / "minority", net[1]).create(), Wallet(directory / "majority", net[3]).create()]
        links.split(MINORITY)
        operations = register_on_both_sides(wallets, args.seconds)
        before = [net[k].api().status() for k in (1, 3)]
        require(before[0]["hash"] != before[1]["hash"], "the sides agree although they are split: no partition")
        print(f"  split for {args.seconds} s: heights {before[0]['height']} and {before[1]['height']}, "
              f"{sum(map(len, operations))} registrations", flush=True)
        links.heal()
        healed = time.monotonic()
        until(lambda: len(tips(net, range(1, 6))) == 1, HEAL_SECONDS, "see one tip on all five nodes after the healing")
        took = time.monotonic() - healed
        height = min(node.api().status()["height"] for node in net.nodes) - 1
        require(len({state_root(node, height) for node in net.nodes}) == 1, f"state roots differ at height {height}")
        ended = until(lambda: settled(wallets, operations), 180, "see all registrations end and one side told it lost", 1)
        owners = {node.api().get("/v1/names/contested")["state"]["owner"] for node in net.nodes}
        require(len(owners) == 1, f"the contested name has {len(owners)} owners")
        loser, lost = next((w, o) for w, name, o in ended if name == "contested" and o["state"] == "failed")
        others = {name: o["state"] for _, name, o in ended if name != "contested"}
        require(set(others.values()) == {"done"}, f"registrations of other names ended as {others}")
        for name in others:
            require(net[5].api().get(f"/v1/names/{name}")["status"] == "active", f"{name} is done but not active on node 5")
        no_panics(net)
        side = "minority" if loser is wallets[0] else "majority"
        return (f"one tip {took:.1f} s after the healing, equal roots at height {height}; the {side} lost the contested name "
                f"and was told: {lost['error']['code']}; {len(others)} other registrations done")


arguments = parser(__doc__)
arguments.add_argument("--seconds", type=int, default=60, help="how long the split lasts (default %(default)s)")
main(run, arguments.parse_args())
