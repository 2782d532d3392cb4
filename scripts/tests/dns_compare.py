#!/usr/bin/env python3
"""Our UDP side beside NSD, Knot and a bare responder: one zone of a million names, one list of queries, one run, the
servers in turn. The bare responder is the least that a server can do: it receives and sends in batches and gives one
answer to everything, so what it takes is the kernel's, and nobody's ratio to it can be much above one.

Prints for each server how soon it answers, its memory (proportional share of all its processes), and what dnsperf gets
out of it with 10, 100 and 1,000 queries in flight: answers per second, and per second of processor time of the server;
then, at an equal rate for all, how long half, 90, 99 and 99.9 of a hundred queries take at most, by a client of our own
(dnsperf can only print every query, and is then busy printing when answers come). Last a table of medians, and ours
alone while blocks of 1,000 changes come. Needs Debian's packages dnsperf, nsd and knot; a server that is not installed
is left out. The servers have one half of the processors, with one worker for each, and the client the other half.
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
import statistics
import subprocess
import sys
import time

import others
from common import REPO, Failed, parser, require, until, workspace

TICKS = os.sysconf("SC_CLK_TCK")
BARE = "bare"
# Queries that dnsperf keeps in flight.
IN_FLIGHT = (10, 100, 1_000)
# The client must not take time from what it measures: servers have one half of the cores, dnsperf the other.
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORES, CLIENT_CORES = CORES[: len(CORES) // 2], CORES[len(CORES) // 2 :]
# Two workers on one core take turns, and each finds fewer queries waiting.
WORKERS = max(1, len(SERVER_CORES))


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


def nsd(directory, port, workers=WORKERS):
    options = f"server-count: {workers}", "reuseport: yes"
    return others.nsd(directory, [f"127.0.0.1@{port}"], {"p2p": "zonefile: p2p.zone"}, *options)


def knot(directory, port, workers=WORKERS):
    config = directory / "knot.conf"
    config.write_text(f"""
server:
    rundir: "{directory}"
    listen: 127.0.0.1@{port}
    udp-workers: {workers}
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

    def keep_to(self, cores):
        """Lets all threads run on these cores only."""
        for path, _ in self.processes():
            for task in (path / "task").iterdir():
                os.sched_setaffinity(int(task.name), cores)

    def cpu_seconds(self):
        return sum(seconds for _, seconds in self.processes())

    def memory_mib(self):
        rollups = [(path / "smaps_rollup").read_text() for path, _ in self.processes()]
        return sum(int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1]) for text in rollups) / 1024

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(30)


def load(server, queries, args, in_flight):
    """Answers per second, and per second of the server's processor time, to dnsperf, which asks another query whenever
    one is answered."""
    command = ["dnsperf", "-s", "127.0.0.1", "-p", str(server.port), "-d", str(queries), "-l", str(args.seconds),
               "-c", "16", "-T", "1", "-q", str(in_flight)]
    before = server.cpu_seconds()
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    cpu = server.cpu_seconds() - before
    completed, lost = (int(re.search(rf"Queries {what}:\s+(\d+)", said)[1]) for what in ("completed", "lost"))
    rate = float(re.search(r"Queries per second:\s+([\d.]+)", said)[1])
    codes = re.search(r"Response codes:\s+(.*)", said)[1]
    print(f"{server.name}, {in_flight:,} in flight: {rate:9,.0f}/s {completed / cpu:9,.0f} per CPU-second, {lost} lost, "
          f"{codes}", flush=True)
    return {"rate": rate, "efficiency": completed / cpu, "completed": completed, "lost": lost}


def latency(server, program, args, seconds=1):
    """Percentiles at a rate that all servers can keep up with, in milliseconds."""
    cores = ",".join(map(str, CLIENT_CORES or CORES))
    command = ["taskset", "-c", cores, program, "ask", str(server.port), str(args.rate), str(seconds)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    seen = {what: float(value) for what, value in re.findall(r"^(.+): ([\d.]+)$", said, re.M)}
    require(seen["asked"] >= 0.9 * args.rate * seconds, f"only {seen['asked']:,.0f} queries were sent to {server.name}")
    return {what.removesuffix(" ms"): value for what, value in seen.items()}


def in_turn(servers, program, args):
    """A second for each server, again and again: the system stops everybody for milliseconds now and then, and the median
    of many short measurements is what is left without that."""
    slices = {server.name: [] for server in servers}
    for _ in range(args.seconds):
        for server in servers:
            slices[server.name].append(latency(server, program, args))
    for name, seen in slices.items():
        figures = ", ".join(f"{key} {statistics.median(one[key] for one in seen):.3f} ms" for key in seen[0] if key.startswith("p"))
        lost, asked = (sum(one[key] for one in seen) for key in ("lost", "asked"))
        print(f"{name}: at {args.rate:,}/s {figures}, {lost:,.0f} lost of {asked:,.0f}", flush=True)
    return slices


def with_blocks(program, directory, args):
    """Ours again, alone, while a block of 1,000 changes comes five times a second."""
    server = Server("namestead with blocks", [program, "serve", str(args.workers), "blocks"], directory)
    try:
        if SERVER_CORES:
            server.keep_to(SERVER_CORES)
        for _ in range(args.rounds):
            load(server, directory / "queries", args, max(args.in_flight))
            in_turn([server], program, args)
        print(f"{server.name}: {re.findall(r'^block .*', server.log.read_text(), re.M)[-1]}, the slowest")
    finally:
        server.stop()


def commands(program, directory, args):
    """Name, command and port of each server; without a port it says itself which one it has."""
    yield "namestead", [program, "serve", str(args.workers)], None
    for name, daemon, command, version in (("nsd", "nsd", nsd, "-v"), ("knot", "knotd", knot, "--version")):
        path = shutil.which(daemon, path=os.environ["PATH"] + ":/usr/sbin")
        if path is None:
            print(f"{name}: not installed, left out")
            continue
        said = subprocess.run([path, version], capture_output=True, text=True, check=True)
        print((said.stdout + said.stderr).splitlines()[0])
        port = free_port()
        yield name, command(directory, port, args.workers), port
    yield BARE, [program, "bare", str(args.workers)], None


def table(loads):
    """The medians of each server, how its answers per CPU-second compare with the bare responder's (of the medians; of
    single rounds, the lowest and the highest), and how ours compare with its."""
    line = "{:>9} {:<10} {:>10} {:>14} {:>22} {:>12} {:>7}".format
    print(line("in flight", "server", "answers/s", "per CPU-second", "share of the bare one", "ours to this", "lost"))
    for (name, in_flight), seen in loads.items():
        median = lambda other, key: statistics.median(one[key] for one in loads[other, in_flight])
        per_round = [one["efficiency"] / bare["efficiency"] for one, bare in zip(seen, loads[BARE, in_flight], strict=True)]
        efficiency = median(name, "efficiency")
        lost, completed = (sum(one[key] for one in seen) for key in ("lost", "completed"))
        share = f"{efficiency / median(BARE, 'efficiency'):.2f} ({min(per_round):.2f}-{max(per_round):.2f})"
        ours = f"{median('namestead', 'efficiency') / efficiency:.2f}"
        print(line(f"{in_flight:,}", name, f"{median(name, 'rate'):,.0f}", f"{efficiency:,.0f}", share, ours,
                   f"{lost / (lost + completed):.2%}"))


def measure(servers, program, directory, args):
    """In turn, so that whatever else the machine does hits all of them."""
    loads = {(server.name, in_flight): [] for in_flight in args.in_flight for server in servers}
    slices = {server.name: [] for server in servers}
    for _ in range(args.rounds):
        for in_flight in args.in_flight:
            for server in servers:
                loads[server.name, in_flight].append(load(server, directory / "queries", args, in_flight))
        for name, seen in in_turn(servers, program, args).items():
            slices[name] += seen
    for server in servers:
        print(f"{server.name}: {server.memory_mib():.0f} MiB afterwards")
    for name, seen in slices.items():
        median = lambda key: statistics.median(one[key] for one in seen)
        figures = ", ".join(f"{key} {median(key):.3f} ms" for key in seen[0] if key.startswith("p"))
        print(f"{name}: medians at {args.rate:,}/s {figures}")
    table(loads)


def run(args):
    require(shutil.which("dnsperf"), "dnsperf is not installed")
    program = build()
    with workspace(args, "dns-compare") as directory, contextlib.ExitStack() as stack:
        subprocess.run([program, "zone", str(directory)], check=True)
        servers = []
        for name, command, port in commands(program, directory, args):
            server = Server(name, command, directory, port)
            stack.callback(server.stop)
            servers.append(server)
            print(f"{name}: ready after {server.ready:.2f} s, {server.memory_mib():.0f} MiB", flush=True)
        if SERVER_CORES:
            os.sched_setaffinity(0, CLIENT_CORES)
            for server in servers:
                server.keep_to(SERVER_CORES)
        measure(servers, program, directory, args)
        stack.close()
        with_blocks(program, directory, args)


if __name__ == "__main__":
    arguments: argparse.ArgumentParser = parser(__doc__)
    arguments.add_argument("--seconds", type=int, default=4, help="length of one measurement (default %(default)s)")
    arguments.add_argument("--rate", type=int, default=100_000, help="queries per second for latencies (default %(default)s)")
    arguments.add_argument("--rounds", type=int, default=5, help="measurements per server (default %(default)s)")
    arguments.add_argument("--workers", type=int, default=WORKERS,
                           help="threads or processes that each server answers with (default: one for each of its processors)")
    arguments.add_argument("--in-flight", type=int, nargs="+", default=IN_FLIGHT, metavar="QUERIES",
                           help="queries that dnsperf keeps in flight, each number in turn (default: 10 100 1000)")
    try:
        run(arguments.parse_args())
    except Failed as problem:
        sys.exit(f"FAILED dns_compare: {problem}")
