"""A local network: which nodes it has, bringing them up connected, finding them again, taking them down."""

import json
import os
import pathlib
import random
import shlex
import signal
import socket
import time

from .node import BIN, PORTS_PER_NODE, REPO, Node, NodeFailed
from .wallet import PASSPHRASE, variables

DEFAULT_DIR = REPO / "testnet" / "run"
DEFAULT_BASE_PORT = 19300
MAX_NODES = 50  # more than two cores can carry; keeps a typing error from filling the machine


def port_is_free(port, host="127.0.0.1"):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True


def free_base_port(count):
    """A base port whose whole range is free now: tests run beside each other and beside a network of yours."""
    for _ in range(200):
        base = random.randrange(20000, 31000, PORTS_PER_NODE)
        if all(port_is_free(base + i) for i in range((count + 1) * PORTS_PER_NODE)):
            return base
    raise NodeFailed("found no free range of ports between 20000 and 31000")


class Net:
    """N full nodes of network `local` on loopback; node k knows the nodes before it."""

    def __init__(self, directory, nodes):
        self.directory = pathlib.Path(directory)
        self.nodes = nodes

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.down()

    @classmethod
    def plan(cls, count, directory, base_port=None):
        """The nodes, not started. Without a base port a free range is chosen."""
        directory = pathlib.Path(directory).resolve()
        base = base_port or free_base_port(count)
        nodes = [Node(f"node{k}", directory / f"node{k}", base + k * PORTS_PER_NODE) for k in range(1, count + 1)]
        return cls(directory, nodes)

    @classmethod
    def load(cls, directory):
        """The network that nodes.json describes, or None."""
        directory = pathlib.Path(directory).resolve()
        try:
            entries = json.loads((directory / "nodes.json").read_text())
        except FileNotFoundError:
            return None
        nodes = []
        for entry in entries:
            node = Node(entry["name"], directory / entry["name"], int(entry["p2p"].rsplit("/", 1)[1]))
            node.pid = entry["pid"]
            nodes.append(node)
        return cls(directory, nodes)

    def __getitem__(self, number):
        """Node by its number: net[1] is node1."""
        return self.nodes[number - 1]

    def write_configs(self, **options):
        for index, node in enumerate(self.nodes):
            node.write_config(peers=[other.p2p for other in self.nodes[:index]], **options)

    def start(self):
        for node in self.nodes:
            node.start()
        self.save()

    def up(self, seconds=60, **options):
        """Starts all and returns their statuses once blocks come."""
        self.write_configs(**options)
        self.start()
        return self.wait_until_producing(seconds)

    def down(self):
        """Names of the nodes that had to be killed."""
        for node in self.nodes:
            if node.is_running():
                _terminate(node)
        return [node.name for node in self.nodes if not node.stop()]

    def running(self):
        return [node for node in self.nodes if node.is_running()]

    def save(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        _write(self.directory / "nodes.json", [node.describe() for node in self.nodes])
        targets = [{"targets": [node.metrics_listen], "labels": {"node": node.name}} for node in self.nodes]
        _write(self.directory / "prometheus-targets.json", targets)
        self._write_environment()

    def _write_environment(self):
        """DIR/env, to be sourced: `namectl` then speaks to node 1 and keeps its toy keys in DIR/wallet."""
        home = self.directory / "wallet"
        home.mkdir(exist_ok=True)
        (home / "passphrase").write_text(PASSPHRASE + "\n")
        lines = [f"export {key}={shlex.quote(value)}" for key, value in variables(home, self.nodes[0]).items()]
        (self.directory / "env").write_text("\n".join([f'export PATH={shlex.quote(str(BIN))}:"$PATH"', *lines, ""]))

    # --- waiting ------------------------------------------------------------------------------------------------

    def wait_until_producing(self, seconds=60):
        """Returns when every node has a peer, calls itself synced, and sees blocks beyond the first ones."""
        first = {node.name: node.wait_for_api(seconds)["height"] for node in self.nodes}
        lonely = len(self.nodes) == 1

        def producing(statuses):
            connected = all(lonely or s["peers"] > 0 for s in statuses.values())
            moving = all(s["height"] > max(first[name], 3) for name, s in statuses.items())
            return connected and moving and all(s["synced"] for s in statuses.values())

        return self.wait_for(producing, seconds, "be connected and producing blocks")

    def wait_for_one_tip(self, seconds):
        """Returns the statuses once all nodes agree on a tip."""
        return self.wait_for(lambda statuses: len({s["hash"] for s in statuses.values()}) == 1, seconds, "agree on one tip")

    def wait_for(self, condition, seconds, wish):
        deadline = time.monotonic() + seconds
        statuses = {}
        while time.monotonic() < deadline:
            statuses = {node.name: node.api(timeout=2).try_status() for node in self.nodes}
            if all(statuses.values()) and condition(statuses):
                return statuses
            for node in self.nodes:
                if not node.is_running():
                    raise NodeFailed(f"{node.name} ended; the end of {node.log}:\n{node.log_tail()}")
            time.sleep(0.1)
        seen = {name: s and {k: s.get(k) for k in ("height", "hash", "peers", "synced")} for name, s in statuses.items()}
        raise NodeFailed(f"the nodes did not {wish} within {seconds} s: {seen}")


def _terminate(node):
    try:
        os.kill(node.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass


def _write(path, value):
    """Whole or not at all: a reader never sees half a file."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(value, indent=2) + "\n")
    fresh.replace(path)
