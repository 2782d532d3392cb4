#!/usr/bin/env python3
"""One attacker with a laptop against release nodes: he must not stop, split or fill them, nor keep an owner out.

Each row plays one attack of docs/threat-model.md with testnet/adversary, watches the nodes through their API and DNS, and
prints one line: what was seen, and whether the nodes bore it. The row with hosts of many networks needs root for network
namespaces; without, it is left out and said to be.
"""

import concurrent.futures
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import urllib.request

from common import Failed, NodeFailed, main, no_panics, parser, require, until, workspace
from harness.adversary import PROGRAM, Adversary, AdversaryFailed
from harness.client import scrape
from harness.net import Net, free_base_port
from harness.netns import Links
from harness.node import PORTS_PER_NODE, Node

# Little honest work: the attacker has a whole core, as a laptop has against a young network.
DUTY = 3
# More where the miner shares two cores with a flood that takes both.
FLOOD_DUTY = 12
# Protocol §7: a restarted node is synced within five minutes, whatever its peers claim.
PATIENCE_SECONDS = 300
# The longest a block may be held up by a flood of transactions.
DELAY_SECONDS = 1.0
# The part of such a flood that may cost more than a lookup.
CHECKED = 0.01
FLOOD_SECONDS = 12
# A transaction that reaches a miner goes into the next block, or into the one after it if that one is being worked on; one
# more for a block that is found while it is on its way.
BLOCKS = 3
# What a node may write for each honest block, and beside them.
BYTES_PER_BLOCK, BYTES_BESIDE = 64 << 10, 1 << 20
# One address in each of ten networks of /16: the node, eight attacking hosts, and the newcomer.
ADDRESSES = [f"45.{10 + k}.0.1" for k in range(10)]


# --- looking at nodes ---------------------------------------------------------------------------------------------


def metric(node, name):
    with urllib.request.urlopen(f"http://{node.metrics_listen}/metrics", timeout=5) as answer:
        return scrape(answer.read().decode())[name]


def honest_peers(node):
    """Connected peers that are nodes: the adversary names another program."""
    return [peer for peer in node.api().get("/v1/peers")["peers"] if (peer.get("agent") or "").startswith("namestead/")]


def answers_dns(node):
    """Whether the node knows that a name is not there; a node that is not ready says SERVFAIL."""
    return "NXDOMAIN" in node.dig("nobody-has-this.p2p", options=(), seconds=5)


def bytes_of(directory):
    total = 0
    for path in pathlib.Path(directory).rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total


class Watch:
    """Calls a function again and again beside what is done in the `with` block; `seen` has its results."""

    def __init__(self, look, pause=0.2):
        self.seen, self._look, self._pause, self._over = [], look, pause, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while not self._over.is_set():
            with contextlib.suppress(Exception):
                self.seen.append(self._look())
            self._over.wait(self._pause)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


# --- the rows -----------------------------------------------------------------------------------------------------


def invalid_parent(net, _args):
    """Row 1: what builds on a block that only some know to be invalid is nobody's fault."""
    net.up(duty=DUTY)
    seen = Adversary("invalid-parent", "--knows", net[3].p2p, "--node", net[1].p2p).seen()
    ignored = int(metric(net[3], 'namestead_p2p_gossip_verdicts_total{verdict="ignore"}'))
    bans = sum(int(metric(node, "namestead_p2p_bans_total")) for node in net.nodes)
    peers = [len(honest_peers(node)) for node in net.nodes]
    summary = (f"{seen['invalid_blocks']} invalid blocks told to one node, {seen['children']} children of them to another; the "
               f"first ignored {ignored} messages: {bans} bans, honest peers {peers}")
    require(all(count == 2 for count in peers), summary)
    # One of them is the invalid block itself. Fewer would mean that nothing was relayed, and nothing shown.
    require(ignored > 1, f"the attack came to nothing: {summary}")
    net.wait_for_one_tip(30)
    return summary + ", one tip"


def withheld(net, _args):
    """Row 2: headers are not blocks."""
    net.up(duty=DUTY)
    nodes = [option for node in net.nodes for option in ("--node", node.p2p)]

    def look():
        statuses = [node.api().status() for node in net.nodes]
        return [(status["synced"], status["height"]) for status in statuses], all(map(answers_dns, net.nodes))

    with Adversary("withheld", *nodes, "--seconds", 16) as adversary:
        adversary.ready()
        with Watch(look, 0.5) as watch:
            seen = adversary.seen()
    looks = watch.seen
    synced = [all(synced for synced, _ in nodes) for nodes, _ in looks].count(True)
    answered = [dns for _, dns in looks].count(True)
    grown = min(after[1] - before[1] for before, after in zip(looks[0][0], looks[-1][0]))
    summary = (f"{seen['headers']} headers without bodies, {seen['withheld_height'] - seen['lowest_tip_at_the_end']} ahead: "
               f"synced at {synced} of {len(looks)} looks, DNS at {answered}, {grown} honest blocks connected")
    require(synced == answered == len(looks) and grown >= 1, summary)
    return summary


def claims(net, args):
    """Row 3: a claim that is never shown counts for a while only."""
    honest, one, twenty = net.nodes
    honest.write_config(duty=DUTY)
    honest.start()
    until(lambda: (honest.api(2).try_status() or {"height": 0})["height"] > 3, 60, "see the honest node make blocks")
    liars = [f"/ip4/127.0.0.1/tcp/{honest.p2p_port + 5 + k}" for k in range(4)]
    for node, listening in ((one, liars[:1]), (twenty, liars[1:])):
        node.write_config(peers=[honest.p2p], mining="off")
        node.start()
        until(lambda: (node.api(2).try_status() or {"synced": False})["synced"], 60, "see a node synced without liars")
        node.stop()
        node.write_config(peers=[honest.p2p, *listening], mining="off")

    def begin(node, listening, inbound, evasions):
        listen = [option for address in listening for option in ("--listen", address)]
        options = ("--node", node.p2p, "--inbound", inbound, "--evasion", evasions, "--seconds", PATIENCE_SECONDS)
        return Adversary("claims", *options, *listen)

    def synced_after(node, began):
        until(lambda: (node.api(2).try_status() or {"synced": False})["synced"], args.patience - (time.monotonic() - began),
              f"see {node.name}, restarted beside liars, call itself synced")
        return time.monotonic() - began

    with begin(one, liars[:1], 1, "busy") as first, begin(twenty, liars[1:], 17, "busy,empty,silent") as second:
        first.ready()
        second.ready()
        # The honest node is slow to answer, so that the liars come first.
        os.kill(honest.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            one.start()
            twenty.start()
            for node in (one, twenty):
                until(lambda: (node.api(2).try_status() or {"peers": 0})["peers"] > 0, 30, f"see liars meet {node.name}")
        finally:
            os.kill(honest.pid, signal.SIGCONT)
        took = [synced_after(node, began) for node in (one, twenty)]
        require(first.is_running() and second.is_running(), "the liars ended before the nodes were synced")
    return f"restarted beside 2 liars: synced after {took[0]:.0f} s; beside 20: after {took[1]:.0f} s"


def mempool(net, _args):
    """Row 4: the owner's change goes into the next block."""
    net.up(duty=DUTY)
    seen = Adversary("mempool", "--node", net[1].p2p).seen(180)
    told = ", ".join(f"{case['owner_wants']} against the {case['attacker']}: " +
                     (f"block {case['in_block']}" if case["in_block"] is not None else "never") for case in seen["cases"])
    summary = f"{sum(case['junk_offered'] for case in seen['cases'])} junk transactions; {told}"
    late = [case for case in seen["cases"] if case["in_block"] is None or case["in_block"] > BLOCKS]
    require(not late, summary)
    return summary


def old_branch(net, args):
    """Row 5: what is far below the tip's work is neither kept nor relayed."""
    net.up(duty=DUTY)
    node = net[1]
    with Adversary("old-branch", "--node", node.p2p, "--headers", args.headers) as adversary:
        # The node has fetched a chain that is long enough to have something far below its tip.
        adversary.ready()
        before, height = bytes_of(node.data_dir), node.api().status()["height"]
        seen = adversary.seen()
    blocks = node.api().status()["height"] - height
    # What was kept in memory only is on the disk now.
    node.stop()
    grown = bytes_of(node.data_dir) - before
    summary = (f"{seen['blocks_told']} blocks gossiped and {seen['headers_given']} headers given, {seen['work_of_all']} "
               f"evaluations in all: {grown / 1024:.0f} KiB more, with {blocks} honest blocks")
    require(seen["blocks_told"] and grown <= BYTES_BESIDE + blocks * BYTES_PER_BLOCK, summary)
    return summary


def reveals(net, args):
    """Row 6: a flood of transactions does not hold up blocks."""
    net[1].write_config(duty=FLOOD_DUTY)
    net[2].write_config(peers=[net[1].p2p], mining="off")
    net.start()
    net.wait_until_producing()
    came = [{}, {}]

    def look(index):
        status = net.nodes[index].api(5).status()
        came[index].setdefault(status["height"], time.monotonic())

    with Adversary("reveals", "--node", net[2].p2p, "--rate", args.rate, "--seconds", FLOOD_SECONDS, niceness=5) as adversary:
        adversary.ready()
        with Watch(lambda: look(0), 0.02), Watch(lambda: look(1), 0.02):
            seen = adversary.seen()
    heights = sorted(set(came[0]) & set(came[1]))[1:]
    delays = sorted(max(0.0, came[1][height] - came[0][height]) for height in heights)
    require(len(delays) >= 2, f"only {len(delays)} blocks came during the flood")
    checked = metric(net[2], 'namestead_chain_transaction_checks_total{result="made"}')
    summary = (f"{seen['a_second']:.0f} REVEALs a second with seven signatures each, {checked:.0f} of {seen['said']} had them "
               f"verified; {len(delays)} blocks delayed by {delays[len(delays) // 2] * 1000:.0f} ms at the median, "
               f"{delays[-1] * 1000:.0f} ms at most")
    require(delays[-1] < DELAY_SECONDS and checked <= CHECKED * seen["said"], summary)
    return summary


def places(directory, base):
    """Row 10: eight hosts do not keep a ninth out."""
    with Links(len(ADDRESSES), ADDRESSES) as links:
        node = Node("node", directory / "node", base, host=ADDRESSES[0], namespace=links.names[0])
        newcomer = Node("newcomer", directory / "newcomer", base, host=ADDRESSES[-1], namespace=links.names[-1])
        with Net(directory, [node, newcomer]) as net, contextlib.ExitStack() as hosts:
            node.write_config(duty=DUTY)
            node.start()
            until(lambda: (node.api(2).try_status() or {"height": 0})["height"] > 3, 60, "see the node make blocks")
            held = [hosts.enter_context(Adversary("places", "--node", node.p2p, "--seconds", 60, namespace=name))
                    for name in links.names[1:-1]]
            until(lambda: len(node.api().get("/v1/peers")["peers"]) >= 64, 30, "see all places taken")
            newcomer.write_config(peers=[node.p2p], mining="off")
            began = time.monotonic()
            newcomer.start()
            until(lambda: (newcomer.api(2).try_status() or {"synced": False})["synced"], 30,
                  "see the newcomer get in beside 64 peers from eight hosts")
            took = time.monotonic() - began
            time.sleep(3)
            require(newcomer.api().status()["peers"] == 1, "the newcomer was let in and thrown out again")
            require(all(host.is_running() for host in held), "the attackers ended before the newcomer came")
            no_panics(net)
            peers = len(node.api().get("/v1/peers")["peers"])
            return f"64 places held from 8 hosts: the newcomer was synced after {took:.1f} s and stays; {peers} peers"


# --- all of them --------------------------------------------------------------------------------------------------

# Row of the table in docs/threat-model.md: what it is called, how many nodes it needs, how it is played.
ROWS = {
    1: ("what builds on an invalid block", 3, invalid_parent),
    2: ("withheld bodies", 3, withheld),
    3: ("claims without chains", 3, claims),
    4: ("a crowded mempool", 2, mempool),
    5: ("old, cheap branches", 1, old_branch),
    6: ("a flood of REVEALs", 2, reveals),
    10: ("all places taken", 0, places),
}
# What mostly waits runs beside what mostly works. The flood wants the machine for itself.
LANES = ([3], [1, 2, 5], [4, 10])
ALONE = [6]


def can_make_namespaces():
    probe = f"probe{os.getpid()}"
    if os.geteuid() != 0 or subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False).returncode:
        return False
    subprocess.run(["ip", "netns", "delete", probe], capture_output=True, check=False)
    return True


def play(row, directory, base, args):
    """One row; the line about it, and whether the nodes bore the attack."""
    name, count, attack = ROWS[row]
    began = time.monotonic()
    try:
        if count == 0:
            seen = attack(directory / f"row{row}", base)
        else:
            with Net.plan(count, directory / f"row{row}", base) as net:
                seen = attack(net, args)
                no_panics(net)
        verdict = "ok"
    except (Failed, NodeFailed, AdversaryFailed) as problem:
        verdict, seen = "FAILED", problem
    print(f"  {verdict} row {row}, {name}: {seen} ({time.monotonic() - began:.0f} s)", flush=True)
    return verdict == "ok"


def run(args):
    if not PROGRAM.exists():
        sys.exit(f"error: {PROGRAM} is not there\n       try: cargo build -p node --example adversary")
    rows = args.rows or list(ROWS)
    if 10 in rows and not can_make_namespaces():
        print("  network namespaces are not allowed here: row 10 was NOT played", flush=True)
        rows = [row for row in rows if row != 10]
    with workspace(args, "hostile") as directory:
        first = free_base_port(4 * len(ROWS))
        bases = {row: first + 4 * PORTS_PER_NODE * index for index, row in enumerate(ROWS)}
        one = lambda row: (row, play(row, directory, bases[row], args))
        lane = lambda chosen: [one(row) for row in chosen if row in rows]
        with concurrent.futures.ThreadPoolExecutor() as pool:
            played = [result for results in pool.map(lane, LANES) for result in results]
        played += lane(ALONE)
        lost = sorted(row for row, bore in played if not bore)
        require(not lost, f"the nodes did not bear rows {lost}")
        return f"{len(played)} attacks borne"


arguments = parser(__doc__)
arguments.add_argument("--rows", type=int, nargs="+", choices=list(ROWS), help="play these only")
arguments.add_argument("--patience", type=int, default=PATIENCE_SECONDS, help="seconds for row 3 (default %(default)s)")
arguments.add_argument("--headers", type=int, default=20_000, help="headers of row 5 (default %(default)s)")
arguments.add_argument("--rate", type=int, default=5_000, help="transactions a second of row 6 (default %(default)s)")
main(run, arguments.parse_args())
