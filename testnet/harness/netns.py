"""Network namespaces around nodes: one each, joined by a bridge; a second bridge is the other side of a partition.

Needs root. Everything is named after this process and vanishes with `close()`.
"""

import os
import pathlib
import subprocess
import sys

# Takes checksums and cutting into frames back from the interface: what reads frames in between wants them finished.
_PLAIN = """
import ctypes, fcntl, socket, struct
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    for command in (0x17, 0x1f, 0x24):  # ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO
        value = ctypes.create_string_buffer(struct.pack("II", command, 0))
        fcntl.ioctl(any_socket, 0x8946, struct.pack("16sP8x", b"eth0", ctypes.addressof(value)))
"""


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
        self._line = None
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

    def impair(self, delay_ms, loss_percent, seed=1):
        """From here on every frame takes that long and some vanish: a program takes the bridge's place."""
        for name in self.names:
            _run("ip", "netns", "exec", name, sys.executable, "-c", _PLAIN)
        ports = [f"port{number}" for number in range(1, len(self.names) + 1)]
        for port in ports:
            _run("ip", "-n", self._hub, "link", "set", port, "nomaster")
        line = pathlib.Path(__file__).with_name("line.py")
        options = ["--delay-ms", str(delay_ms), "--loss-percent", str(loss_percent), "--seed", str(seed)]
        self._line = subprocess.Popen(["ip", "netns", "exec", self._hub, sys.executable, str(line), *options, *ports])

    def _move(self, numbers, bridge):
        for number in numbers:
            _run("ip", "-n", self._hub, "link", "set", f"port{number}", "master", bridge)

    def close(self):
        if self._line is not None:
            self._line.kill()
            self._line.wait()
        for name in [*self.names, self._hub]:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
