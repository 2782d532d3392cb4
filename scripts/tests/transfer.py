#!/usr/bin/env python3
"""Real NSD, Knot, BIND and PowerDNS as secondaries: a whole zone, ten blocks of changes, reorganisations.

A program around our server (resolver/examples/primary.rs) holds made-up names of every kind, in both suffix trees, and
its chain does what this test says. After each act the secondaries have to reach our serial, by the kind of transfer
that is expected, and random questions to all servers have to get equal answers: code, AA, answer and authority, TTLs
included, and the addresses of a referral. What may differ is named in `explained`.

`--node` follows a real node instead: a name is registered, the node is stopped and started again, and the secondaries
are led on by changes, as if nothing had happened. It needs the release build.

Needs Debian's packages nsd, knot, bind9, pdns-server and pdns-backend-sqlite3; a server that is not installed is left out, but one has to be there.
"""

import base64
import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import sqlite3
import struct
import subprocess
import sys
import time
import urllib.request

import others
from common import REPO, Failed, parser, require, until, workspace
from harness.net import free_base_port
from harness.node import Node, NodeFailed
from harness.wallet import Wallet

PATH = os.environ["PATH"] + ":/usr/sbin"
ZONES = ("p2p", "p2p.alt")
TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "DNAME": 39, "DS": 43}
# Where names begin in the data of a type, and how many there are.
NAMES_AT = {2: (0, 1), 5: (0, 1), 6: (0, 2), 15: (2, 1), 33: (6, 1), 39: (0, 1)}
WINDOW = 64


def build():
    command = ["cargo", "build", "--locked", "-p", "resolver", "--example", "primary", "--message-format=json"]
    for line in subprocess.run(command, cwd=REPO, check=True, capture_output=True, text=True).stdout.splitlines():
        message = json.loads(line)
        if message.get("target", {}).get("name") == "primary" and message.get("executable"):
            return message["executable"]
    raise Failed("cargo named no program")


def free_port():
    """A port that is free for both UDP and TCP."""
    while True:
        with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                udp.bind(("127.0.0.1", tcp.getsockname()[1]))
                return tcp.getsockname()[1]


class Message:
    """A response, taken apart: names in lower case, data without compression."""

    def __init__(self, data):
        self.data = data
        ident, flags, questions, *counts = struct.unpack("!6H", data[:12])
        self.ident, self.rcode, self.aa, self.tc = ident, flags & 15, bool(flags & 0x400), bool(flags & 0x200)
        at = 12
        for _ in range(questions):
            at = self.name(at)[1] + 4
        self.sections = []
        for count in counts:
            section = []
            for _ in range(count):
                record, at = self.record(at)
                section.append(record)
            self.sections.append(section)

    def name(self, at):
        labels, end = [], None
        while True:
            length = self.data[at]
            if length >= 0xC0:
                end = end or at + 2
                at = struct.unpack("!H", self.data[at:at + 2])[0] & 0x3FFF
            elif length:
                labels.append(self.data[at + 1:at + 1 + length].lower())
                at += 1 + length
            else:
                return b".".join(labels) + b".", end or at + 1

    def record(self, at):
        owner, at = self.name(at)
        rtype, _, ttl, length = struct.unpack("!HHIH", self.data[at:at + 10])
        at += 10
        begin, count = NAMES_AT.get(rtype, (length, 0))
        value, next_at = self.data[at:at + begin], at + begin
        for _ in range(count):
            name, next_at = self.name(next_at)
            value += name + b" "
        return (owner, rtype, ttl, value + self.data[next_at:at + length]), at + length

    def said(self):
        answer, authority, additional = ([r for r in section if r[1] != 41] for section in self.sections)
        # Which addresses come along with an answer is every server's choice; a referral needs them.
        is_referral = not self.aa and not answer
        addresses = sorted(r for r in additional if is_referral)
        return self.rcode, self.aa, sorted(answer), sorted(authority), addresses


def ask(port, questions):
    """The answers to all questions from one server, over UDP."""
    answers = [None] * len(questions)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(("127.0.0.1", port))
        one.settimeout(5)
        for first in range(0, len(questions), WINDOW):
            waiting = set(range(first, min(first + WINDOW, len(questions))))
            for index in waiting:
                name, rtype = questions[index]
                labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
                header = struct.pack("!6H", index & 0xFFFF, 0, 1, 0, 0, 1)
                opt = struct.pack("!BHHIH", 0, 41, 4096, 0, 0)
                one.send(header + labels + b"\0" + struct.pack("!2H", TYPES[rtype], 1) + opt)
            while waiting:
                try:
                    message = Message(one.recv(65_535))
                except TimeoutError:
                    raise Failed(f"port {port} does not answer {questions[min(waiting)]}") from None
                index = first + (message.ident - first) % 0x10000
                answers[index] = message
                waiting.discard(index)
    return answers


def explained(question, ours, theirs, whose):
    """Why two answers may differ, or None."""
    if ours.tc or theirs.tc:
        return "one of them does not fit a datagram"
    a, b = ours.said(), theirs.said()
    reasons = []
    # What our TTL would be if it did not count down.
    full = {(r[0], r[1], r[3]): r[2] for part in b[2:] for r in part}
    longer = lambda r: full[key] if (key := (r[0], r[1], r[3])) in full and full[key] > r[2] and r[2] % 120 == 0 else r[2]
    at_full = (*a[:2], *([(r[0], r[1], longer(r), r[3]) for r in part] for part in a[2:]))
    if at_full != a:
        reasons.append("our TTL counts down to the end of a term or of grace")
    a = at_full
    apex = max((zone for zone in ZONES if question[0].endswith("." + zone)), key=len, default=question[0]).encode()
    inside = lambda name: name.endswith(b"." + apex + b".")
    ends = [record for record in b[2] if record[1] == 5 and not inside(record[3].rstrip())]
    if ends and b == (0, True, [record for record in a[2] if inside(record[0])], [], []):
        reasons.append("it does not follow an alias into our other zone")
        a = b
    if whose == "pdns" and question[1] == "CNAME" and a[2] and not a[3] and b[3] and all(record[1] in (2, 6) for record in b[3]):
        reasons.append("PowerDNS, asked for a CNAME record, also looks at its target")
        b = (*b[:3], [], a[4])
    if whose == "pdns" and {a[0], b[0]} == {0, 3} and a[1:] == b[1:] and not a[2]:
        reasons.append("PowerDNS learns which names are empty from whole zones only")
        a = b
    owners = {record[0] for record in a[2]}
    if b[0] == 2 and a[0] == 0 and owners and all(r[1] == 5 for r in a[2]) and any(r[3].rstrip() in owners for r in a[2]):
        reasons.append("BIND and PowerDNS call aliases in a circle a failure")
        a = b if whose == "pdns" else (2, *a[1:])
    if (*a[:4], [record for record in a[4] if inside(record[0])]) == b != a:
        reasons.append("we add an address from our other zone")
        a = b
    return " and ".join(reasons) if a == b else None


class Primary:
    def __init__(self, program, directory, port, secondaries, names):
        self.port, self.directory = port, directory
        config = directory / "primary.toml"
        config.write_text(
            f'listen = ["127.0.0.1:{port}"]\ndnssec = "off"\n[transfer]\nallow = ["127.0.0.0/8"]\nallow_keys = ["fleet"]\n'
            f'key_files = ["{directory}/fleet.key"]\nnotify = {json.dumps([f"127.0.0.1:{p}" for p in secondaries])}\n'
            'notify_key = "fleet"\n')
        with open(directory / "primary.log", "w") as log:
            self.process = subprocess.Popen([program, str(config), str(names)], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=log, text=True)
        self.state = self.read()

    def read(self):
        line = self.process.stdout.readline()
        require(line, f"the primary has ended; see {self.directory}/primary.log")
        words = re.match(r"height (\d+) serial (\d+) names (\d+)", line)
        counted = re.findall(r'result="(\w+)",type="(\w+)"} (\d+)', line)
        return {"height": int(words[1]), "serial": int(words[2]), "names": int(words[3]),
                "counted": {f"{kind} {result}": int(count) for result, kind, count in counted}}

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        self.state = self.read()
        return self.state

    def stop(self):
        self.process.stdin.close()
        self.process.wait(30)


class Secondary:
    name = daemon = ""
    # What its log says of changes that came, if it says so.
    delta = ""

    def __init__(self, directory, port, primary, secret):
        self.directory, self.port = directory / self.name, port
        self.directory.mkdir()
        self.log = self.directory / f"{self.name}.log"
        self.command = self.configure(primary, secret)
        self.process = None

    def start(self):
        with open(self.directory / "out", "a") as out:
            self.process = subprocess.Popen(self.command, stdout=out, stderr=out, env={**os.environ, "PATH": PATH})

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(30)
            self.process = None

    def serials(self):
        require(self.process.poll() is None, f"{self.name} has ended; see {self.directory}")
        try:
            found = []
            for answer in ask(self.port, [(zone, "SOA") for zone in ZONES]):
                data = [record[3] for record in answer.sections[0] if record[1] == 6]
                found.append(struct.unpack("!I", data[0][-20:-16])[0] if data else None)
            return found
        except (OSError, Failed):
            return None

    def excuse(self, _name):
        """Why this program may answer otherwise about a name, by what it holds; or None."""
        return None

    def count(self, pattern):
        return len(re.findall(pattern, self.log.read_text())) if self.log.exists() else 0


class Nsd(Secondary):
    name, daemon = "nsd", "nsd"

    def configure(self, primary, secret):
        settings = "zonefile: {0}.zone\n    request-xfr: 127.0.0.1@{1} fleet\n    allow-notify: 127.0.0.1 fleet"
        return others.nsd(
            self.directory, [f"127.0.0.1@{self.port}"], {zone: settings.format(zone, primary) for zone in ZONES},
            "server-count: 1", "verbosity: 3", "minimal-responses: yes",
            more=f"key:\n    name: fleet\n    algorithm: hmac-sha256\n    secret: \"{secret}\"\n",
        )


class Knot(Secondary):
    name, daemon = "knot", "knotd"
    delta = r"IXFR, incoming, .*finished"

    def configure(self, primary, secret):
        zones = "".join(f"""
  - domain: {zone}
    master: primary
    acl: notify
""" for zone in ZONES)
        config = self.directory / "knot.conf"
        config.write_text(f"""
server:
    rundir: "{self.directory}"
    listen: 127.0.0.1@{self.port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: "{self.log}"
    any: info
database:
    storage: "{self.directory}"
key:
  - id: fleet
    algorithm: hmac-sha256
    secret: {secret}
remote:
  - id: primary
    address: 127.0.0.1@{primary}
    key: fleet
acl:
  - id: notify
    address: 127.0.0.1
    key: fleet
    action: notify
template:
  - id: default
    storage: "{self.directory}"
    zonefile-sync: -1
    zonefile-load: none
    journal-content: all
zone:{zones}""")
        return ["knotd", "-c", str(config)]


class Bind(Secondary):
    name, daemon = "bind", "named"

    def configure(self, primary, secret):
        zones = "".join(f"""
zone "{zone}" {{ type secondary; primaries {{ 127.0.0.1 port {primary} key fleet; }}; file "{zone}.zone"; notify no; }};
""" for zone in ZONES)
        config = self.directory / "named.conf"
        config.write_text(f"""
options {{
    directory "{self.directory}";
    pid-file none;
    session-keyfile none;
    listen-on port {self.port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    recursion no;
    minimal-responses yes;
    zero-no-soa-ttl no;
    check-names secondary ignore;
    dnssec-validation no;
    max-records-per-type 0;
    empty-zones-enable no;
}};
controls {{ }};
logging {{ channel all {{ file "{self.log}"; severity info; }}; category default {{ all; }}; }};
key fleet {{ algorithm hmac-sha256; secret "{secret}"; }};
{zones}""")
        return ["named", "-f", "-n", "1", "-c", str(config)]


class PowerDns(Secondary):
    """Its requests for changes say a serial and no names (PowerDNS 4.7)."""

    name, daemon = "pdns", "pdns_server"
    schema = pathlib.Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql")

    def configure(self, primary, secret):
        database = self.directory / "pdns.sqlite3"
        with contextlib.closing(sqlite3.connect(database)) as db:
            db.executescript(self.schema.read_text())
            db.execute("INSERT INTO tsigkeys (name, algorithm, secret) VALUES ('fleet', 'hmac-sha256', ?)", (secret,))
            for zone in ZONES:
                row = db.execute("INSERT INTO domains (name, master, type) VALUES (?, ?, 'SLAVE')",
                                 (zone, f"127.0.0.1:{primary}")).lastrowid
                for kind, content in (("AXFR-MASTER-TSIG", "fleet"), ("IXFR", "1")):
                    db.execute("INSERT INTO domainmetadata (domain_id, kind, content) VALUES (?, ?, ?)", (row, kind, content))
            db.commit()
        config = self.directory / "pdns.conf"
        config.write_text(f"""
launch=gsqlite3
gsqlite3-database={database}
gsqlite3-pragma-synchronous=0
gsqlite3-pragma-journal-mode=WAL
retrieval-threads=1
secondary=yes
xfr-cycle-interval=1
local-address=127.0.0.1
local-port={self.port}
socket-dir={self.directory}
allow-notify-from=127.0.0.0/8
disable-axfr=yes
dname-processing=yes
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
write-pid=no
version-string=anonymous
consistent-backends=yes
zone-cache-refresh-interval=0
loglevel=5
""")
        return ["pdns_server", "--daemon=no", "--guardian=no", "--disable-syslog", f"--config-dir={self.directory}"]

    def excuse(self, name):
        """It makes and drops empty names with whole zones only, so an old one may hide a wildcard from there."""
        labels = name.split(".")
        above = [".".join(labels[k:]) for k in range(len(labels))]
        with contextlib.closing(sqlite3.connect(f"file:{self.directory}/pdns.sqlite3?mode=ro", uri=True)) as db:
            marks = ", ".join("?" * len(above))
            found = db.execute(f"SELECT COUNT(*) FROM records WHERE type IS NULL AND name IN ({marks})", above).fetchone()
        return "PowerDNS learns which names are empty from whole zones only" if found[0] else None

    def soa_records(self):
        """How many SOA records each zone has: one, unless an old one was not deleted (its issue 12984)."""
        with contextlib.closing(sqlite3.connect(f"file:{self.directory}/pdns.sqlite3?mode=ro", uri=True)) as db:
            found = db.execute("SELECT d.name, COUNT(*) FROM domains d JOIN records r ON r.domain_id = d.id "
                               "WHERE r.type = 'SOA' GROUP BY d.name")
            return dict(found)


SECONDARIES = (Nsd, Knot, Bind, PowerDns)


class Play:
    """What is done, and what has to be seen each time."""

    def __init__(self, primary, secondaries, questions):
        self.primary, self.secondaries, self.questions = primary, secondaries, questions
        self.compared, self.reasons = 0, {}

    def catch_up(self, seconds):
        wanted = [self.primary.state["serial"]] * len(ZONES)
        began = time.monotonic()
        for secondary in self.secondaries:
            until(lambda: secondary.serials() == wanted, seconds, f"see {secondary.name} at serial {wanted[0]}")
        return time.monotonic() - began

    def compare(self, what):
        path = self.primary.directory / "queries"
        self.primary.tell(f"queries {self.questions} {path}")
        questions = [tuple(line.split()) for line in path.read_text().splitlines()]
        ours = ask(self.primary.port, questions)
        for secondary in self.secondaries:
            theirs = ask(secondary.port, questions)
            odd = []
            for question, a, b in zip(questions, ours, theirs):
                self.compared += 1
                if a.said() != b.said():
                    reason = explained(question, a, b, secondary.name) or secondary.excuse(question[0])
                    if reason:
                        self.reasons[reason] = self.reasons.get(reason, 0) + 1
                    else:
                        odd.append(f"{' '.join(question)}\n    ours:   {a.said()}\n    theirs: {b.said()}")
            shown = "\n  ".join(odd[:8])
            require(not odd, f"{what}: {len(odd)} of {len(questions)} answers of {secondary.name} differ:\n  {shown}")

    def counted(self, kind):
        return self.primary.tell("state")["counted"].get(kind, 0)

    def act(self, what, command, kind):
        """One act, after which every secondary and zone has made a transfer of `kind`, and none of another."""
        kinds = ("AXFR whole", "IXFR whole", "IXFR delta", "IXFR aborted", "AXFR aborted", "IXFR ahead")
        before = {one: self.counted(one) for one in kinds}
        logged = {one.name: one.count(one.delta) for one in self.secondaries if one.delta}
        for one in command if isinstance(command, list) else [command]:
            self.primary.tell(one)
            took = self.catch_up(60)
        news = {one: self.counted(one) - before[one] for one in kinds}
        others = {one: count for one, count in news.items() if count and one != kind}
        expected = len(self.secondaries) * len(ZONES)
        require(news[kind] >= expected and not others, f"{what}: expected {kind} from each, and saw {news}")
        for one in self.secondaries:
            if one.delta and kind == "IXFR delta":
                more = one.count(one.delta) - logged[one.name]
                require(more >= len(ZONES), f"{what}: the log of {one.name} tells of {more} IXFRs")
        for one in self.secondaries:
            if isinstance(one, PowerDns):
                require(one.soa_records() == dict.fromkeys(ZONES, 1), f"{what}: {one.name} holds SOA records {one.soa_records()}")
        self.compare(what)
        state = self.primary.state
        print(f"  {what}: height {state['height']}, serial {state['serial']}, {state['names']} names, "
              f"{news[kind]} × {kind}, caught up in {took:.1f} s", flush=True)


def fleet_key(directory):
    secret = base64.b64encode(os.urandom(32)).decode()
    key = directory / "fleet.key"
    key.touch(mode=0o600)
    key.write_text(f"hmac-sha256:fleet:{secret}\n")
    return secret


def installed(only):
    wanted = [kind for kind in SECONDARIES if only in (None, kind.name)]
    kinds = [kind for kind in wanted if shutil.which(kind.daemon, path=PATH)]
    missing = [kind.daemon for kind in wanted if kind not in kinds]
    if missing:
        print(f"  not installed, left out: {', '.join(missing)}", flush=True)
    require(kinds, "none of nsd, knot, bind9 and pdns-server is installed\n       try: scripts/setup --test")
    return kinds


def run_node(args):
    kinds = installed(args.only)
    with workspace(args, "transfer-node") as directory, contextlib.ExitStack() as stack:
        secret = fleet_key(directory)
        node = Node("node1", directory / "node1", free_base_port(1))
        node.write_config()
        port = int(node.dns.rpartition(":")[2])
        secondaries = [kind(directory, free_port(), port, secret) for kind in kinds]
        notify = json.dumps([f"127.0.0.1:{one.port}" for one in secondaries])
        node.config.write_text(node.config.read_text() + f"""
[dns.transfer]
allow_keys = ["fleet"]
key_files = ["{directory}/fleet.key"]
notify = {notify}
notify_key = "fleet"
""")

        def counted(result):
            with urllib.request.urlopen(f"http://{node.metrics_listen}/metrics") as response:
                found = re.findall(rf'^namestead_dns_transfers_total{{result="{result}".* (\d+)$', response.read().decode(), re.M)
            return sum(map(int, found))

        def level():
            for one in secondaries:
                until(lambda: one.serials() == [node.api().status()["height"]] * len(ZONES), 60, f"see {one.name} at the tip")

        stack.callback(node.stop)
        node.start().wait_for_api()
        for one in secondaries:
            one.start()
            stack.callback(one.stop)
        level()
        operation = Wallet(directory / "wallet", node).create().register("fleet", "@ A 192.0.2.7\nwww CNAME @\n", wait=True)
        require(operation["state"] == "done", f"the registration ended as {operation['state']}")
        questions = [(f"{name}fleet.{zone}", "A") for name in ("", "www.", "x.") for zone in ZONES]
        for what in ("a block with a name", "a restart"):
            level()
            for one in secondaries:
                ours, theirs = ([answer.rcode for answer in ask(p, questions)] for p in (port, one.port))
                require(ours == theirs == [0, 0, 0, 0, 3, 3], f"{what}: codes {ours}, and {theirs} of {one.name}")
            if what == "a block with a name":
                whole, delta = counted("whole"), counted("delta")
                node.stop()
                node.start().wait_for_api()
        until(lambda: counted("delta") >= len(secondaries) * len(ZONES), 60, "see changes fetched after the restart")
        require(counted("whole") == 0, "a whole zone was fetched after the restart")
        return f"{whole} whole zones and {delta} times changes before a restart, {counted('delta')} times changes after it"


def run(args):
    kinds = installed(args.only)
    program = build()
    with workspace(args, "transfer") as directory, contextlib.ExitStack() as stack:
        secret = fleet_key(directory)
        port = free_port()
        secondaries = []
        for kind in kinds:
            secondaries.append(kind(directory, free_port(), port, secret))
        primary = Primary(program, directory, port, [one.port for one in secondaries], args.names)
        stack.callback(primary.stop)
        play = Play(primary, secondaries, args.questions)
        began = time.monotonic()
        for one in secondaries:
            one.start()
            stack.callback(one.stop)
        took = play.catch_up(300)
        whole = sum(play.counted(kind) for kind in ("AXFR whole", "IXFR whole"))
        require(whole == len(secondaries) * len(ZONES), f"{whole} whole zones were fetched")
        play.compare("the whole zone")
        print(f"  {args.names} names in {len(ZONES)} zones whole: serial {primary.state['serial']}, caught up in {took:.1f} s")
        play.act(f"{args.blocks} blocks, one by one", [f"blocks 1 {args.changes}"] * args.blocks, "IXFR delta")
        play.act("three blocks at once", f"blocks 3 {args.changes}", "IXFR delta")
        play.act("a longer branch", f"reorganise 3 4 {args.changes}", "IXFR delta")
        play.act("a branch of the same length", f"reorganise 2 2 {args.changes}", "IXFR delta")
        require(primary.state["serial"] == primary.state["height"] + 1, "the serial has to be ahead now")
        play.act("a shorter branch", f"reorganise 3 2 {args.changes}", "IXFR delta")
        require(primary.state["serial"] == primary.state["height"] + 3, "the serial has to be further ahead now")
        play.act("blocks until the height is the serial again", f"blocks 4 {args.changes}", "IXFR delta")
        require(primary.state["serial"] == primary.state["height"], "the serial has to be the height again")
        reasons = "; ".join(f"{count} × {reason}" for reason, count in play.reasons.items()) or "no difference"
        names = " and ".join(one.name for one in secondaries)
        return (f"{names} equal us in {play.compared} answers ({reasons}), "
                f"{time.monotonic() - began:.0f} s without building")


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--names", type=int, default=100_000, help="names to begin with (default %(default)s)")
    arguments.add_argument("--changes", type=int, default=500, help="changed names per block (default %(default)s)")
    arguments.add_argument("--blocks", type=int, default=10, help="blocks to follow one by one (default %(default)s)")
    arguments.add_argument("--questions", type=int, default=10_000, help="per comparison (default %(default)s)")
    arguments.add_argument("--only", choices=[kind.name for kind in SECONDARIES], help="one secondary instead of all")
    arguments.add_argument("--node", action="store_true", help="follow a real node instead")
    args, began = arguments.parse_args(), time.monotonic()
    try:
        print(f"ok transfer: {run_node(args) if args.node else run(args)} ({time.monotonic() - began:.0f} s)")
    except (Failed, NodeFailed) as problem:
        sys.exit(f"FAILED transfer after {time.monotonic() - began:.0f} s: {problem}")
