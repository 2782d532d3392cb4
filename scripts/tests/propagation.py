#!/usr/bin/env python3
"""How fast a block of 100 kB reaches twelve nodes, each behind 100 ms of delay and 5 % loss, and what it costs them.

The nodes are in network namespaces on one switch (testnet/harness/line.py), where every frame takes 100 ms and every
twentieth vanishes, so that a round trip takes 200 ms. Each node dials two others. In each round somebody registers names;
mining stops while the reveals, 1.3 kB each, spread, and goes on when all nodes have them.
Times are those of the log line `block_connected`. A block must reach 95 % of the nodes within a second, over all rounds,
and a node may receive 1.2 times the block's bytes for it: as compact block, as parts asked for, or whole. Needs root.
"""

import datetime
import json
import os
import re
import signal
import subprocess
import time

from common import Failed, Net, main, no_panics, parser, require, until, workspace
from harness.adversary import PROGRAM
from harness.net import free_base_port
from harness.netns import Links
from harness.node import Node

NODES = 12
DELAY_MS, LOSS_PERCENT = 100, 5
NAMES = 84  # 84 reveals of 1.3 kB
WITHIN_MS = 1_000
BODIES = 1.2


def plan(directory, links):
    base = free_base_port(1)
    nodes = [
        Node(f"node{k}", directory / f"node{k}", base, host=links.address(k), namespace=name)
        for k, name in enumerate(links.names, start=1)
    ]
    return Net(directory, nodes)


def configure(net):
    """Each dials two others, so that most are two hops apart; the first mines."""
    for index, node in enumerate(net.nodes):
        dialled = [net.nodes[k].p2p for k in {index // 2, index - 1} if 0 <= k < index]
        node.write_config(peers=dialled, mining="on" if index == 0 else "off")
        text = node.config.read_text().replace("mdns = false", "mdns = false\noutbound = 2")
        node.config.write_text(text + '\n[log]\nformat = "json"\nlevel = "info,node::chain=debug"\n')


def mine(node, mode):
    text = re.sub(r'mode = "\w+"', f'mode = "{mode}"', node.config.read_text())
    node.config.write_text(text)
    os.kill(node.pid, signal.SIGHUP)


def counters(node):
    """Bytes of blocks received by form, blocks by how they were made whole, and bytes that came over the line."""
    page = subprocess.run(
        [*node.prefix, "curl", "-s", "-m", "5", f"http://{node.metrics_listen}/metrics"], capture_output=True, text=True, check=True
    ).stdout
    found = {m[1]: float(m[2]) for m in re.finditer(r'p2p_block_bytes_received_total\{as="(\w+)"\} (\S+)', page)}
    found |= {m[1]: float(m[2]) for m in re.finditer(r'p2p_announced_blocks_total\{made="(\w+)"\} (\S+)', page)}
    line = subprocess.run(
        [*node.prefix, "cat", "/sys/class/net/eth0/statistics/rx_bytes"], capture_output=True, text=True, check=True
    ).stdout
    return found | {"line": float(line)}


def connected_at(node, block):
    """When the node's log says that it connected the block, in seconds; None if not yet."""
    for line in node.log.read_text(errors="replace").splitlines():
        if "block_connected" in line and block in line:
            return datetime.datetime.fromisoformat(json.loads(line)["timestamp"].replace("Z", "+00:00")).timestamp()
    return None


def pooled(node):
    return node.api().status()["mempool"]["count"]


def wait_pooled(net, count, seconds):
    until(lambda: all(pooled(node) >= count for node in net.nodes), seconds, f"see {count} transactions in all mempools", 0.2)


def one_round(net, number):
    """The block that takes the reveals, as the API shows it, when each node connected it, and what it received for it."""
    miner = net[1]
    command = [*miner.prefix, str(PROGRAM), "registrations", "--node", miner.p2p, "--names", str(NAMES), "--round", str(number)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as registrant:
        try:
            return measured(net, miner, registrant)
        finally:
            registrant.kill()


def measured(net, miner, registrant):
    says(registrant, "ready")
    mine(miner, "on")
    says(registrant, "ripe")
    mine(miner, "off")
    time.sleep(0.5)  # A block that was being worked on may still come.
    registrant.stdin.write("now\n")
    registrant.stdin.flush()
    wait_pooled(net, NAMES, 30)
    before = {node.name: counters(node) for node in net.nodes}
    height = miner.api().status()["height"]
    mine(miner, "on")
    seen = until(lambda: full_block(miner, height + 1), 30, "see a block with the reveals", 0.02)
    mine(miner, "off")
    arrived = until(lambda: everywhere(net, seen["hash"]), 20, "see the block on all nodes", 0.1)
    after = {node.name: counters(node) for node in net.nodes}
    grown = {name: {key: after[name][key] - was[key] for key in was} for name, was in before.items()}
    return seen, arrived, grown


def says(program, word):
    line = program.stdout.readline().strip()
    require(line == word, f"{PROGRAM.name} says {line!r}, not {word!r}")


def full_block(node, height):
    block = node.api().get(f"/v1/blocks/{height}") if node.api().status()["height"] >= height else None
    if block and len(block["transactions"]) < NAMES:
        raise Failed(f"the block at {height} took {len(block['transactions'])} of {NAMES} transactions")
    return block


def everywhere(net, block):
    times = {node.name: connected_at(node, block) for node in net.nodes}
    return times if all(times.values()) else None


def percentile(values, percent):
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


def run(args):
    if os.geteuid() != 0:
        raise Failed("network namespaces need root")
    with workspace(args, "propagation") as directory, Links(NODES) as links, plan(directory, links) as net:
        configure(net)
        net.start()
        net.wait_until_producing(60)
        links.impair(DELAY_MS, LOSS_PERCENT)
        mine(net[1], "off")
        delays, bodies, lines, made = [], [], [], {"rebuilt": 0, "completed": 0, "fetched": 0}
        for number in range(1, args.rounds + 1):
            block, arrived, grown = one_round(net, number)
            first = min(arrived.values())
            took = sorted((at - first) * 1000 for name, at in arrived.items() if name != net[1].name)
            receivers = [grown[node.name] for node in net.nodes[1:]]
            cost = [sum(r[form] for form in ("compact", "parts", "whole")) / block["weight"] for r in receivers]
            delays += took
            bodies += cost
            lines += [r["line"] / block["weight"] for r in receivers]
            for way in made:
                made[way] += int(sum(r[way] for r in receivers))
            print(f"  {block['weight']} bytes, {len(block['transactions'])} transactions: median {took[len(took) // 2]:.0f} ms, "
                  f"last {took[-1]:.0f} ms; {max(cost):.2f} bodies at most", flush=True)
        no_panics(net)
        p95 = percentile(delays, 95)
        require(p95 <= WITHIN_MS, f"a block reaches 95 % of the nodes after {p95:.0f} ms: {[round(d) for d in sorted(delays)]}")
        require(max(bodies) <= BODIES, f"a node received {max(bodies):.2f} bodies: {made}")
        return (f"{args.rounds} blocks reached 95 % of {NODES} nodes in {p95:.0f} ms, all in {max(delays):.0f} ms; at most "
                f"{max(bodies):.2f} bodies received for each, {max(lines):.2f} by all that came over the line; {made}")


arguments = parser(__doc__)
arguments.add_argument("--rounds", type=int, default=3, help="how many blocks are measured (default %(default)s)")
main(run, arguments.parse_args())
