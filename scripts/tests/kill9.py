#!/usr/bin/env python3
"""`kill -9` of a node at random moments, under load, many times; every third time again while it recovers.

The victim is the node that takes registrations all the while. After each kill it must answer within five seconds, at a
height not below the last one it told, with every registration it had acknowledged; a copy of its database as the kill
left it must replay to the state root it claims. In the end every acknowledged registration is finished.
"""

import http.client
import random
import shutil
import subprocess
import threading
import time

from common import Net, main, no_panics, parser, require, state_root, until, workspace
from harness.client import ApiError
from harness.node import BIN
from harness.wallet import CommandFailed, Wallet

REOPEN_SECONDS = 5
RECOVERY_KILL_SHARE = 1 / 3


class Load:
    """Starts registrations without pause and remembers each one that the node acknowledged."""

    def __init__(self, wallet, pause):
        self.acknowledged = {}
        self._wallet, self._pause = wallet, pause
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self._thread.join()

    def _loop(self):
        number = 0
        while not self._stopping.wait(self._pause):
            number += 1
            name = f"load-{number:05}"
            try:
                self.acknowledged[self._wallet.register(name)["id"]] = name
                self._wallet.sign_again()
            except (ApiError, CommandFailed, OSError, http.client.HTTPException, subprocess.TimeoutExpired):
                pass  # the node was just killed: it acknowledged nothing


def replay(victim, scratch):
    """Replays a copy of the database as the kill left it, so that the node's own recovery is not helped."""
    copy = scratch / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(victim.data_dir, copy, ignore=shutil.ignore_patterns("*.sock", "LOCK"))
    config = scratch / "copy.toml"
    config.write_text(victim.config.read_text().replace(str(victim.data_dir), str(copy)))
    return subprocess.Popen(
        [str(BIN / "namestead"), "db", "verify", "--config", str(config)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=scratch,
    )


def reopen(victim):
    began = time.monotonic()
    status = victim.start().wait_for_api(REOPEN_SECONDS * 4)
    return time.monotonic() - began, status


def one_round(net, load, scratch, rng):
    """(seconds to reopen, whether it was killed once more during recovery)"""
    victim = net[1]
    time.sleep(rng.uniform(0.1, 3.0))
    told = victim.api().try_status()
    victim.kill()
    owed = dict(load.acknowledged)
    verifier = replay(victim, scratch)
    again = rng.random() < RECOVERY_KILL_SHARE
    if again:
        victim.start()
        time.sleep(rng.uniform(0.0, 0.5))
        victim.kill()
    took, status = reopen(victim)
    said = verifier.communicate(timeout=120)[0]
    require(verifier.returncode == 0, f"the replay disagrees with the database: {said.strip()}")
    require(took <= REOPEN_SECONDS, f"reopened after {took:.1f} s, at most {REOPEN_SECONDS} are promised")
    require(told is None or status["height"] >= told["height"], f"fell from height {told} to {status['height']}")
    for id, name in owed.items():
        require(victim.api().get(f"/v1/operations/{id}")["name"] == name, f"lost operation {id} ({name})")
    return took, again


def all_done(wallet, acknowledged):
    wallet.sign_again()
    node = wallet.node
    states = [node.api().get(f"/v1/operations/{id}")["state"] for id in acknowledged]
    return all(state == "done" for state in states)


def run(args):
    rng = random.Random(args.seed)
    with workspace(args, "kill9") as directory, Net.plan(3, directory) as net:
        net.up()
        net[1].write_config(peers=[net[2].p2p, net[3].p2p])  # when it comes back, the network is there: it must not go alone
        wallet = Wallet(directory / "wallet", net[1]).create()
        results = []
        with Load(wallet, pause=0.5) as load:
            for number in range(1, args.rounds + 1):
                results.append(one_round(net, load, directory, rng))
                if number % 10 == 0:
                    print(f"  {number} of {args.rounds} kills, {len(load.acknowledged)} registrations", flush=True)
        until(lambda: all_done(wallet, load.acknowledged), 180, "see every acknowledged registration finished", pause=2)
        height = net.wait_for_one_tip(30)["node1"]["height"] - 1
        require(len({state_root(node, height) for node in net.nodes}) == 1, f"state roots differ at height {height}")
        no_panics(net)
        slowest, twice = max(r[0] for r in results), sum(r[1] for r in results)
        return (f"{len(results)} kills, {twice} with another one during recovery; slowest reopening {slowest:.1f} s; "
                f"{len(load.acknowledged)} acknowledged registrations, all finished (seed {args.seed})")


arguments = parser(__doc__)
arguments.add_argument("--rounds", type=int, default=100, help="how many kills (default %(default)s)")
arguments.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="repeats the moments of a run")
main(run, arguments.parse_args())
