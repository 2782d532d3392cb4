"""A user: a wallet of its own and the `namectl` beside the node, run without a terminal."""

import json
import os
import pathlib
import subprocess

from .node import BIN

PASSPHRASE = "for tests only"


def variables(home, node):
    """What makes `namectl` use that node and the keys in that directory."""
    return {
        "NAMECTL_NETWORK": "local",
        "NAMECTL_NODE": f"unix:{node.socket}",
        "NAMECTL_KEYS": str(home / "keys.nsk"),
        "NAMECTL_PASSPHRASE_FILE": str(home / "passphrase"),
    }


class CommandFailed(Exception):
    """namectl ended with another exit code than the caller can use."""

    def __init__(self, command, run):
        super().__init__(f"`namectl {' '.join(command)}` ended with {run.returncode}\n{run.stdout}{run.stderr}".strip())
        self.code = run.returncode
        self.stdout = run.stdout


class Wallet:
    """`namectl` with a home directory of its own, speaking to one node."""

    def __init__(self, home, node):
        self.home = pathlib.Path(home).resolve()
        self.node = node
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "passphrase").write_text(PASSPHRASE + "\n")

    def environment(self):
        """Nothing of the real user's settings, keys or node."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("NAMECTL_")}
        own = {"HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / "config"), "NO_COLOR": "1"}
        return {**kept, **variables(self.home, self.node), **own}

    def run(self, *command, stdin=None, seconds=120):
        """The finished process, whatever its exit code."""
        return subprocess.run(
            [str(BIN / "namectl"), "--no-input", "--yes", *command], input=stdin, capture_output=True, text=True,
            env=self.environment(), timeout=seconds, check=False,
        )

    def text(self, *command, **options):
        run = self.run(*command, **options)
        if run.returncode:
            raise CommandFailed(command, run)
        return run.stdout

    def json(self, *command, **options):
        """The JSON object that the command printed; its progress goes to standard error."""
        return json.loads(self.text("--json", *command, **options))

    def create(self):
        self.text("keys", "new")
        return self

    def register(self, name, records=None, wait=False, seconds=120):
        """Starts a registration; its operation. `records` is zone-file text."""
        command = ["register", name]
        if records is not None:
            path = self.home / f"{name}.zone"
            path.write_text(records)
            command += ["--records", str(path)]
        if not wait:
            command.append("--no-wait")
        return self.json(*command, seconds=seconds)["operations"][0]

    def sign_again(self):
        """Gives the signatures that the node asks for: a reorganisation replaced the anchor they were bound to."""
        for operation in self.node.api().get("/v1/operations")["operations"]:
            if operation["state"] == "needs_signature":
                self.json("ops", "resume", operation["id"])
