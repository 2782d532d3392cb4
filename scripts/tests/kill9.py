#!/usr/bin/env python3
"""`kill -9` of a node at random moments, under load, many times; every third time again while it recovers.

The victim is the node that takes registrations all the while. After each kill it must answer within five seconds, at a
height not below the last one it told, with every registration it had acknowledged; a copy of its database as the kill
left it must replay to the state root it claims. In the end every acknowledged registration is finished. A second kill
counts as one during recovery only if the log shows that the node had not got to its start.
"""

import http.client
import pathlib
import random
import shutil
import statistics
import subprocess
import threading
import time

from common import Net, main, no_panics, parser, require, state_root, until, workspace
from harness.client import ApiError
from harness.node import BIN
from harness.wallet import CommandFailed, Wallet

REOPEN_SECONDS = 5
RECOVERY_KILL_SHARE = 1 / 3
# The node's log line that says that everything is open.
STARTED = b"node started"


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


def sockets_and_lock(folder, names):
    """What is not copied: a socket cannot be, wherever the kill left it, and the lock is the dead process's."""
    return [name for name in names if name == "LOCK" or (pathlib.Path(folder) / name).is_socket()]


def replay(victim, scratch):
    """Replays a copy of the database as the kill left it, so that the node's own recovery is not helped."""
    copy = scratch / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(victim.data_dir, copy, ignore=sockets_and_lock)
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


def kill_while_it_recovers(victim, usual, rng):
    """Starts it, kills it within the time that opening usually takes, and says whether that came before it was open."""
    told = victim.log.stat().st_size
    victim.start()
    time.sleep(rng.uniform(0.0, usual))
    victim.kill()
    with open(victim.log, "rb") as log:
        log.seek(told)
        return STARTED not in log.read()


def one_round(net, load, scratch, rng, usual):
    """(seconds to reopen, kills, those of them during recovery)"""
    victim = net[1]
    time.sleep(rng.uniform(0.05, 1.5))
    told = victim.api().try_status()
    victim.kill()
    owed = dict(load.acknowledged)
    verifier = replay(victim, scratch)
    again = rng.random() < RECOVERY_KILL_SHARE
    recovering = again and kill_while_it_recovers(victim, usual, rng)
    took, status = reopen(victim)
    said = verifier.communicate(timeout=120)[0]
    require(verifier.returncode == 0, f"the replay disagrees with the database: {said.strip()}")
    require(took <= REOPEN_SECONDS, f"reopened after {took:.1f} s, at most {REOPEN_SECONDS} are promised")
    require(told is None or status["height"] >= told["height"], f"fell from height {told} to {status['height']}")
    # Each of the last ones, and a few of all before: what is finished is in blocks, whose state the replay compares.
    recent = list(owed)[-20:] + rng.sample(list(owed), min(20, len(owed)))
    for id in recent:
        require(victim.api().get(f"/v1/operations/{id}")["name"] == owed[id], f"lost operation {id} ({owed[id]})")
    return took, 1 + again, int(recovering)


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
        began, usual = time.monotonic(), 0.3
        with Load(wallet, pause=0.5) as load:
            while len(results) < args.rounds and time.monotonic() - began < args.seconds:
                results.append(one_round(net, load, directory, rng, usual))
                usual = statistics.median(took for took, _, _ in results[-20:])
                if len(results) % 10 == 0:
                    print(f"  {len(results)} rounds, {told(results, load)}", flush=True)
        until(lambda: all_done(wallet, load.acknowledged), 180, "see every acknowledged registration finished", pause=2)
        height = net.wait_for_one_tip(30)["node1"]["height"] - 1
        require(len({state_root(node, height) for node in net.nodes}) == 1, f"state roots differ at height {height}")
        no_panics(net)
        return f"{told(results, load)}, all finished (seed {args.seed})"


def told(results, load):
    kills, recovering = sum(r[1] for r in results), sum(r[2] for r in results)
    return (f"{kills} kills, {recovering} of them during recovery; slowest reopening {max(r[0] for r in results):.1f} s; "
            f"{len(load.acknowledged)} acknowledged registrations")


arguments = parser(__doc__)
arguments.add_argument("--rounds", type=int, default=100, help="rounds, of one or two kills each (default %(default)s)")
arguments.add_argument("--seconds", type=float, default=float("inf"), help="no new round after this long")
arguments.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="repeats the moments of a run")
main(run, arguments.parse_args())
