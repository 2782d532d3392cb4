"""The hostile peer of testnet/adversary: one process per attack, which ends by itself and says in JSON what it saw."""

import json
import os
import pathlib
import subprocess
import threading

from .node import REPO

PROGRAM = pathlib.Path(os.environ.get("NAMESTEAD_ADVERSARY") or REPO / "target" / "debug" / "examples" / "adversary")


class AdversaryFailed(Exception):
    """The attack could not be played; the message holds what the program said."""


class Adversary:
    """One attack, begun at once. `ready()` waits until it is under way, `seen()` until it has ended."""

    def __init__(self, part, *options, namespace=None, niceness=0):
        prefix = ["ip", "netns", "exec", namespace] if namespace else []
        command = [*prefix, "nice", "-n", str(niceness), str(PROGRAM), part, *map(str, options)]
        self.part = part
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._lines, self._errors, self._ready, self._last = [], [], threading.Event(), threading.Event()
        self._readers = [threading.Thread(target=reader, daemon=True) for reader in (self._read_lines, self._read_errors)]
        for reader in self._readers:
            reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def ready(self, seconds=60):
        if not self._ready.wait(seconds) or not self._lines:
            raise AdversaryFailed(f"adversary {self.part} was not ready in {seconds} s: {self._said()}")

    def is_running(self):
        return self._process.poll() is None

    def seen(self, seconds=120):
        """What it saw, once it has ended."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.stop()
            raise AdversaryFailed(f"adversary {self.part} did not end within {seconds} s") from None
        self._last.wait(5)
        if code:
            raise AdversaryFailed(f"adversary {self.part} ended with {code}: {self._said()}")
        return json.loads(self._lines[-1])

    def stop(self):
        if self.is_running():
            self._process.kill()
        self._process.wait()

    def _read_lines(self):
        for line in self._process.stdout:
            self._lines.append(line.strip())
            self._ready.set()
        self._ready.set()
        self._last.set()

    def _read_errors(self):
        self._errors.extend(self._process.stderr)

    def _said(self):
        return "".join(self._errors).strip() or "(nothing)"
