#!/usr/bin/env python3
"""Our UDP side beside NSD and Knot: one zone of a million names, one list of queries, one run, one server at a time.

Prints for each server how soon it answers, its memory (proportional share of all its processes), and what dnsperf gets
out of it: answers per second, and per second of processor time of the server; then, at an equal rate for all, how long
the slowest hundredth and thousandth of the queries take. Needs Debian's packages dnsperf, nsd and knot; a server that is
not installed is left out. Two workers for each server.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import others
from common import REPO, Failed, parser, require, until, workspace

TICKS = os.sysconf("SC_CLK_TCK")
WORKERS = 2


def build():
    """The benchmark's program."""
    command = ["cargo", "bench", "--locked", "-p", "resolver", "--bench", "udp", "--no-run", "--message-format=json"]
    for line in subprocess.run(command, cwd=REPO, check=True, capture_output=True, text=True).stdout.splitlines():
        message = json.loads(line)
        if message.get("target", {}).get("name") == "udp" and message.get("executable"):
            return message["executable"]
    raise Failed("cargo named no program")


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def nsd(directory, port):
    return others.nsd(directory, [f"127.0.0.1@{port}"], {"p2p": "zonefile: p2p.zone"}, f"server-count: {WORKERS}", "reuseport: yes")


def knot(directory, port):
    config = directory / "knot.conf"
    config.write_text(f"""
server:
    rundir: "{directory}"
    listen: 127.0.0.1@{port}
    udp-workers: {WORKERS}
    tcp-workers: 1
    background-workers: 1
log:
  - target: "{directory}/knot.log"
    any: info
database:
    storage: "{directory}"
template:
  - id: default
    storage: "{directory}"
    zonefile-sync: -1
    journal-content: none
    semantic-checks: off
zone:
  - domain: p2p
    file: p2p.zone
""")
    return ["knotd", "-c", str(config)]


class Server:
    """A running server, which is a process group of its own."""

    def __init__(self, name, command, directory, port=None):
        self.name, self.port = name, port
        self.began = time.monotonic()
        self.log = directory / f"{name}.out"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)
        if port is None:
            said = until(lambda: re.search(r"listening on: \S+:(\d+)", self.log.read_text()), 120, f"see {name} listen")
            self.port = int(said[1])
        until(self.answers, 300, f"get an answer from {name}", pause=0.02)
        self.ready = time.monotonic() - self.began

    def answers(self):
        require(self.process.poll() is None, f"{self.name} has ended; see {self.log}")
        question = bytes.fromhex("000101000001000000000000037032700000060001")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(0.2)
            try:
                one.connect(("127.0.0.1", self.port))
                one.send(question)
                reply = one.recv(512)
            except OSError:
                return False
        return reply[3] & 15 == 0 and reply[7] == 1

    def processes(self):
        for path in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = (path / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == self.process.pid:
                    yield path, (int(fields[11]) + int(fields[12])) / TICKS

    def cpu_seconds(self):
        return sum(seconds for _, seconds in self.processes())

    def memory_mib(self):
        rollups = [(path / "smaps_rollup").read_text() for path, _ in self.processes()]
        return sum(int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1]) for text in rollups) / 1024

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(30)


def load(server, queries, args):
    before = server.cpu_seconds()
    said = subprocess.run(
        ["dnsperf", "-s", "127.0.0.1", "-p", str(server.port), "-d", str(queries), "-l", str(args.seconds),
         "-c", "16", "-T", "1", "-q", "1000"],
        capture_output=True, text=True, check=True,
    ).stdout
    cpu = server.cpu_seconds() - before
    completed = int(re.search(r"Queries completed:\s+(\d+)", said)[1])
    lost = int(re.search(r"Queries lost:\s+(\d+)", said)[1])
    rate = float(re.search(r"Queries per second:\s+([\d.]+)", said)[1])
    codes = re.search(r"Response codes:\s+(.*)", said)[1]
    latency = re.search(r"Average Latency \(s\):\s+([\d.]+)", said)[1]
    return f"{rate:9,.0f}/s {completed / cpu:9,.0f} per CPU-second, {lost} lost, {float(latency) * 1e3:.2f} ms, {codes}"


def latency(server, queries, args):
    """Percentiles of the latency at a rate that all servers can keep up with, from dnsperf's list of all queries."""
    said = subprocess.run(
        ["dnsperf", "-s", "127.0.0.1", "-p", str(server.port), "-d", str(queries), "-l", str(args.seconds),
         "-c", "16", "-T", "1", "-q", "1000", "-Q", str(args.rate), "-v"],
        capture_output=True, text=True, check=True,
    ).stdout
    taken = sorted(float(took) for took in re.findall(r"^> \S+ \S+ \S+ ([\d.]+)$", said, re.M))
    require(len(taken) > args.rate, f"dnsperf listed {len(taken)} queries of {server.name}")
    lost = int(re.search(r"Queries lost:\s+(\d+)", said)[1])
    part = {share: taken[int(len(taken) * share)] * 1e3 for share in (0.5, 0.99, 0.999)}
    return (f"at {args.rate:,}/s: p50 {part[0.5]:.3f} ms, p99 {part[0.99]:.3f} ms, p99.9 {part[0.999]:.3f} ms, {lost} lost, "
            f"{len(taken):,} queries")


def run(args):
    require(shutil.which("dnsperf"), "dnsperf is not installed")
    program = build()
    with workspace(args, "dns-compare") as directory:
        subprocess.run([program, "zone", str(directory)], check=True)
        commands = [("namestead", [program, "serve"], None)]
        for name, daemon, command in (("nsd", "nsd", nsd), ("knot", "knotd", knot)):
            if shutil.which(daemon, path=os.environ["PATH"] + ":/usr/sbin"):
                port = free_port()
                commands.append((name, command(directory, port), port))
        for name, command, port in commands:
            server = Server(name, command, directory, port)
            try:
                print(f"{name}: ready after {server.ready:.2f} s, {server.memory_mib():.0f} MiB")
                for _ in range(args.rounds):
                    print(f"{name}: {load(server, directory / 'queries', args)}", flush=True)
                for _ in range(args.rounds):
                    print(f"{name}: {latency(server, directory / 'queries', args)}", flush=True)
                print(f"{name}: {server.memory_mib():.0f} MiB afterwards")
            finally:
                server.stop()


if __name__ == "__main__":
    arguments: argparse.ArgumentParser = parser(__doc__)
    arguments.add_argument("--seconds", type=int, default=5, help="length of one measurement (default %(default)s)")
    arguments.add_argument("--rate", type=int, default=50_000, help="queries per second for latencies (default %(default)s)")
    arguments.add_argument("--rounds", type=int, default=2, help="measurements per server (default %(default)s)")
    try:
        run(arguments.parse_args())
    except Failed as problem:
        sys.exit(f"FAILED dns_compare: {problem}")
