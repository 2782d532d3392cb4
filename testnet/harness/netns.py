"""Network namespaces around nodes: one each, joined by a bridge; a second bridge is the other side of a partition.

Needs root. Everything is named after this process and vanishes with `close()`.
"""

import os
import subprocess


def _run(*command):
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError(f"`{' '.join(command)}`: {run.stderr.strip()}")


class Links:
    """`count` namespaces with the addresses 10.77.0.1, 10.77.0.2 …, or with those given, which all lie in one /8."""

    def __init__(self, count, addresses=None):
        self._prefix = f"ns{os.getpid()}"
        self._addresses = addresses
        self._hub = f"{self._prefix}-hub"
        self.names = [f"{self._prefix}-{k}" for k in range(1, count + 1)]

    def __enter__(self):
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def address(self, number):
        return self._addresses[number - 1] if self._addresses else f"10.77.0.{number}"

    def _build(self):
        _run("ip", "netns", "add", self._hub)
        for bridge in ("br0", "br1"):
            _run("ip", "-n", self._hub, "link", "add", bridge, "type", "bridge")
            _run("ip", "-n", self._hub, "link", "set", bridge, "up")
        for number, name in enumerate(self.names, start=1):
            _run("ip", "netns", "add", name)
            _run("ip", "-n", name, "link", "set", "lo", "up")
            _run("ip", "-n", self._hub, "link", "add", f"port{number}", "type", "veth", "peer", "eth0", "netns", name)
            _run("ip", "-n", self._hub, "link", "set", f"port{number}", "master", "br0", "up")
            _run("ip", "-n", name, "addr", "add", f"{self.address(number)}/{8 if self._addresses else 24}", "dev", "eth0")
            _run("ip", "-n", name, "link", "set", "eth0", "up")

    def split(self, one_side):
        """Cuts the numbered nodes off from all others. Frames vanish silently, as on a broken line."""
        self._move(one_side, "br1")

    def heal(self):
        self._move(range(1, len(self.names) + 1), "br0")

    def _move(self, numbers, bridge):
        for number in numbers:
            _run("ip", "-n", self._hub, "link", "set", f"port{number}", "master", bridge)

    def close(self):
        for name in [*self.names, self._hub]:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
