"""One node process: its ports, its configuration file, starting, stopping, killing, measuring."""

import os
import pathlib
import signal
import subprocess
import time

from .client import Api, dig

REPO = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("NAMESTEAD_BIN") or REPO / "target" / "release")
PORTS_PER_NODE = 10

CONFIG = """\
# Written by testnet/up; a new `up` writes it again.
network = "local"
role = "{role}"
data_dir = "{data_dir}"

[p2p]
listen = [{listen}]
peers = [{peers}]
mdns = false

[mining]
mode = "{mining}"
threads = 1
duty = {duty}
solo = {solo}

[dns]
listen = ["{dns}"]
upstreams = []

[api]
listen = "{api}"

[metrics]
listen = "{metrics}"
"""


class NodeFailed(Exception):
    """The node ended or did not come up; the message holds the end of its log."""


class Node:
    """A node with fixed ports. `namespace` runs it inside a network namespace; `host` is its address there."""

    def __init__(self, name, directory, base_port, host="127.0.0.1", namespace=None):
        self.name = name
        self.directory = pathlib.Path(directory)
        self.data_dir = self.directory / "data"
        self.config = self.directory / "namestead.toml"
        self.log = self.directory / "log"
        self.namespace = namespace
        self.host = host
        self.p2p_port = base_port
        self.dns = f"127.0.0.1:{base_port + 1}"
        self.api_listen = f"127.0.0.1:{base_port + 2}"
        self.metrics_listen = f"127.0.0.1:{base_port + 3}"
        self.pid = None
        self._process = None

    # --- what others need to know -------------------------------------------------------------------------------

    @property
    def p2p(self):
        return f"/ip4/{self.host}/tcp/{self.p2p_port}"

    @property
    def socket(self):
        return self.data_dir / "api.sock"

    @property
    def token_file(self):
        return self.data_dir / "api.token"

    @property
    def prefix(self):
        return ["ip", "netns", "exec", self.namespace] if self.namespace else []

    def describe(self):
        """The node's entry in nodes.json."""
        return {
            "name": self.name,
            "pid": self.pid,
            "p2p": self.p2p,
            "dns": self.dns,
            "api": f"http://{self.api_listen}",
            "metrics": f"http://{self.metrics_listen}/metrics",
            "token_file": str(self.token_file),
            "data_dir": str(self.data_dir),
            "socket": str(self.socket),
            "config": str(self.config),
            "log": str(self.log),
        }

    def api(self, timeout=10):
        address = f"unix:{self.socket}" if self.namespace else f"http://{self.api_listen}"
        return Api(address, self.token_file, timeout)

    def dig(self, name, rtype="A", **options):
        return dig(self.dns, name, rtype, prefix=self.prefix, **options)

    # --- life ---------------------------------------------------------------------------------------------------

    def write_config(self, peers=(), role="full", mining="on", duty=10):
        """A node without peers to dial is the first of its network and may start it alone."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        listen = [f"/ip4/{self.host}/tcp/{self.p2p_port}", f"/ip4/{self.host}/udp/{self.p2p_port}/quic-v1"]
        quoted = lambda items: ", ".join(f'"{item}"' for item in items)
        text = CONFIG.format(
            role=role, data_dir=self.data_dir, listen=quoted(listen), peers=quoted(peers), mining=mining, duty=duty,
            solo="false" if peers else "true", dns=self.dns, api=self.api_listen, metrics=self.metrics_listen,
        )
        self.config.write_text(text)

    def start(self):
        """Starts the process in a session of its own, so that Ctrl-C in a script reaches the script alone."""
        command = [*self.prefix, str(BIN / "namestead"), "run", "--config", str(self.config)]
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=self.directory
            )
        self.pid = self._process.pid
        return self

    def is_running(self):
        if self._process is not None:
            return self._process.poll() is None
        return self.pid is not None and _runs_our_config(self.pid, self.config)

    def kill(self):
        """`kill -9`: what a power cut looks like to the process."""
        os.kill(self.pid, signal.SIGKILL)
        self._reap(10)

    def stop(self, seconds=15):
        """Asks it to stop, and kills it when it does not. True if it stopped by itself."""
        if not self.is_running():
            return True
        os.kill(self.pid, signal.SIGTERM)
        if self._reap(seconds):
            return True
        os.kill(self.pid, signal.SIGKILL)
        self._reap(10)
        return False

    def _reap(self, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self.is_running():
                return True
            time.sleep(0.05)
        return False

    def wait_for_api(self, seconds=30):
        """The first status it gives; how long that took is the caller's to measure."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            status = self.api(timeout=2).try_status()
            if status is not None:
                return status
            if not self.is_running():
                raise NodeFailed(f"{self.name} ended while starting; the end of {self.log}:\n{self.log_tail()}")
            time.sleep(0.05)
        raise NodeFailed(f"{self.name} gave no status within {seconds} s; the end of {self.log}:\n{self.log_tail()}")

    # --- looking at it ------------------------------------------------------------------------------------------

    def log_tail(self, lines=15):
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def log_has_panic(self):
        return self.log.exists() and "panicked at" in self.log.read_text(errors="replace")

    def resident_kib(self):
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        return 0

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _runs_our_config(pid, config):
    """Whether that process is (still) the node we started: a pid alone may have been given to somebody else."""
    try:
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state != "Z" and str(config).encode() in words
