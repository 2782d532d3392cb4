"""What the test programs beside this file share: the harness on the path, temporary networks, reporting."""

import argparse
import base64
import contextlib
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
REPO = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "testnet"))

from harness.net import Net  # noqa: E402
from harness.node import BIN, NodeFailed  # noqa: E402


class Failed(Exception):
    """A check did not hold."""


def require(condition, complaint):
    if not condition:
        raise Failed(complaint)


def parser(doc):
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--keep", action="store_true", help="keep the directory with logs and data, even after success")
    return made


@contextlib.contextmanager
def workspace(args, name):
    """A directory that vanishes after success and stays, named, after a failure."""
    path = pathlib.Path(tempfile.mkdtemp(prefix=f"namestead-{name}-"))
    try:
        yield path
    except BaseException:
        print(f"  logs and data are kept in {path}", file=sys.stderr)
        raise
    if args.keep:
        print(f"  kept: {path}")
    else:
        shutil.rmtree(path)


def no_panics(net):
    for node in net.nodes:
        require(not node.log_has_panic(), f"{node.name} panicked; see {node.log}")


def until(condition, seconds, wish, pause=0.1):
    """The first true value of `condition()`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(pause)
    raise Failed(f"waited {seconds} s in vain to {wish}")


def over_https(port, message, count=200_000):
    """Answers per second to one question over DNS over HTTPS: h2load on four connections, fifty requests at a time on
    each. dnsperf does not do: it stops now and then when it is answered fast. All must be answered."""
    parameter = base64.urlsafe_b64encode(message).decode().rstrip("=")
    command = ["h2load", "-n", str(count), "-c", "4", "-m", "50", f"https://127.0.0.1:{port}/dns-query?dns={parameter}"]
    seen = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", seen)
    require(rate and f"status codes: {count} 2xx" in seen, f"h2load: {seen}")
    return float(rate[1])


def state_root(node, height):
    return node.api().get(f"/v1/blocks/{height}")["state_root"]


def main(run, args):
    """Runs one test; the last line says how it ended."""
    name = pathlib.Path(sys.argv[0]).stem
    if not (BIN / "namestead").exists():
        sys.exit(f"error: {BIN}/namestead is not there\n       try: scripts/setup")
    began = time.monotonic()
    try:
        summary = run(args)
    except (Failed, NodeFailed) as problem:
        sys.exit(f"FAILED {name} after {time.monotonic() - began:.0f} s: {problem}")
    print(f"ok {name}: {summary} ({time.monotonic() - began:.0f} s)")
