#!/usr/bin/env python3
"""One zone, one list of random questions, four name servers: ours, NSD, Knot and BIND. Where an answer of ours differs
from another server's, the difference must be one of those listed here with its reason; any other fails the test.

Not compared, because it means nothing to a client: the order of records, compression and the case of names, options and
sizes in OPT records, the RA bit, additional records that are no glue, and how much of a truncated answer was sent (the
question is put again over TCP, to all). Needs Debian's packages nsd, knot and bind9.
"""

import collections
import contextlib
import json
import os
import random
import shutil
import socket
import struct
import subprocess

from common import REPO, Failed, main, parser, require, workspace
from dns_compare import Server, free_port, knot, nsd
from dnswire import Malformed, Message, option, query, text, type_text
from world import World

BATCH = 100


def bind(directory, port):
    config = directory / "named.conf"
    config.write_text(f"""
options {{
    directory "{directory}";
    pid-file none;
    session-keyfile none;
    listen-on port {port} {{ 127.0.0.1; }};
    listen-on-v6 {{ none; }};
    recursion no;
    allow-transfer {{ none; }};
    minimal-responses yes;
    minimal-any yes;
    zero-no-soa-ttl no;
    check-names primary ignore;
    check-integrity no;
    notify no;
    dnssec-validation no;
    max-records-per-type 0;
    empty-zones-enable no;
}};
controls {{ }};
zone "p2p" {{ type primary; file "p2p.zone"; }};
""")
    return ["named", "-g", "-n", "2", "-c", str(config)]


# --- questions ------------------------------------------------------------------------------------------------------


class Asked:
    """One question and what the servers said."""

    def __init__(self, world, number):
        rng = world.rng
        self.name, self.qtype = world.question()
        name = world.mixed_case(self.name) if rng.random() < 0.5 else self.name
        self.qclass = 1 if rng.random() < 0.99 else rng.choice((3, 4, 254, 255, 77))
        flags = rng.choice((0, 0x0100, 0x0100, 0x0010, 0x0110, 0x0120, 0x0020))
        self.edns = None
        if rng.random() < 0.6:
            options = b"".join(rng.choices((b"", option(10, rng.randbytes(8)), option(12, bytes(3)), option(65_001, b"x")), (6, 1, 1, 1)))
            self.edns = (rng.choice((0, 512, 600, 1232, 4096, 65_535)), 0x8000 if rng.random() < 0.3 else 0, options)
        self.bytes = query(name, self.qtype, number & 0xFFFF, self.qclass, flags, self.edns)
        self.replies = {}

    def __str__(self):
        edns = f", EDNS {self.edns[0]}{' DO' if self.edns[1] else ''}" if self.edns else ""
        return f"{text(self.name)} {type_text(self.qtype)} class {self.qclass}{edns}"


def ask_udp(server, batch):
    """Puts a batch of questions, again to whom was not answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        udp.connect(("127.0.0.1", server.port))
        udp.settimeout(1)
        open_ = {asked.bytes[:2]: asked for asked in batch}
        for _ in range(4):
            for asked in open_.values():
                udp.send(asked.bytes)
            with contextlib.suppress(TimeoutError):
                while open_:
                    reply = udp.recv(65_535)
                    if asked := open_.pop(reply[:2], None):
                        asked.replies[server.name] = reply
            if not open_:
                return


def ask_tcp(server, batch):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as tcp:
        reader = tcp.makefile("rb")
        for asked in batch:
            tcp.sendall(struct.pack(">H", len(asked.bytes)) + asked.bytes)
            asked.replies[server.name] = reader.read(struct.unpack(">H", reader.read(2))[0])


# --- what is said ---------------------------------------------------------------------------------------------------


def referral_glue(message):
    """Addresses of name servers at or below the cut: what a resolver cannot do without (RFC 9471)."""
    cuts = [(owner, data) for owner, rtype, _, _, data in message.authority if rtype == 2]
    return frozenset(r for r in message.additional if r[1] in (1, 28) and any(d == r[0] and d.endswith(o) for o, d in cuts))


def statement(message):
    """The parts of a message that say something, by name."""
    referral = not message.authoritative or any(r[1] == 2 and len(r[0]) > 5 for r in message.authority)
    return {
        "code": message.rcode,
        "header": message.flags & 0xF960,  # QR, opcode, RD, Z, AD
        "CD": bool(message.flags & 0x10),
        "AA": message.authoritative,
        "question": tuple(message.questions),
        "EDNS": None if message.opt is None else (message.opt[1] & 0xFF_8000),
        "answer": frozenset(message.answer),
        # An NS set of the zone beside an answer is only a courtesy (RFC 1034 §4.3.2 has it nowhere).
        "authority": frozenset(r for r in message.authority if (r[1], len(r[0])) != (2, 5)),
        "glue": referral_glue(message) if referral else frozenset(),
        "order": all(r[2] == 1 for r in message.answer),
    }


def differences(ours, theirs):
    mine, other = statement(ours), statement(theirs)
    return sorted(part for part in mine if mine[part] != other[part])


# --- explained differences ------------------------------------------------------------------------------------------

# Each takes (asked, our message, theirs, server) and gives the parts that may differ for this reason, if it is one. The
# docstrings stand in docs/dns.md.
EXPLAINED = []


def explained(function):
    EXPLAINED.append(function)
    return function


ALL = {"code", "AA", "answer", "authority", "glue", "order", "question"}


@explained
def other_classes(asked, ours, theirs, server):
    """We refuse every class but IN and CH. NSD and Knot take ANY for IN, and NSD leaves the question out of refusals;
    BIND says FORMERR to NONE and ANY, and NOTIMP to unknown classes. No RFC says."""
    return ALL if asked.qclass != 1 and ours.rcode == 5 and not ours.answer else ()


@explained
def types_that_cannot_be_asked_for(asked, ours, theirs, server):
    """OPT, TKEY, TSIG and NXNAME are no questions about data: we answer FORMERR, as RFC 9824 §3.5 demands for NXNAME,
    and REFUSED to transfers. The others say FORMERR, NOTIMP, REFUSED, or that the name has no such type, each in its
    own way. Type 0, MAILA and MAILB are for us types that no name has (RFC 3597)."""
    expected = {41: {1}, 128: {1}, 249: {1}, 250: {1}, 251: {5}, 252: {5}, 0: {0, 3}, 253: {0, 3}, 254: {0, 3}}
    return ALL if ours.rcode in expected.get(asked.qtype, ()) else ()


@explained
def any_is_minimal(asked, ours, theirs, server):
    """ANY may be answered with one set (RFC 8482 §4.1), and which one is everybody's choice. NSD sends such clients to
    TCP, where all answer in full or with one set."""
    owners = {r[0] for r in ours.answer} | {r[0] for r in theirs.answer}
    aliased = any(r[1] in (5, 39) for r in theirs.answer)
    alike = ours.answer and theirs.answer and (len(owners) == 1 or aliased)
    return {"answer", "authority", "code"} if asked.qtype == 255 and alike else ()

@explained
def cd_comes_back_from_bind(asked, ours, theirs, server):
    """BIND copies the CD bit into every response (RFC 4035 §3); authorities clear it, say §3.1.6, NSD, Knot and we."""
    return {"CD"} if server == "bind" and theirs.flags & 0x10 and not ours.flags & 0x10 else ()


def aliases(message):
    return [r for r in message.answer if r[1] == 5]


@explained
def aliases_in_a_circle(asked, ours, theirs, server):
    """BIND calls a circle of aliases SERVFAIL and still sends it; NSD, Knot and we send it with NOERROR. No RFC says."""
    targets, owners = {r[4] for r in aliases(ours)}, {r[0] for r in aliases(ours)}
    return {"code"} if server == "bind" and theirs.rcode == 2 and ours.rcode == 0 and targets <= owners else ()


@explained
def knot_follows_five_aliases(asked, ours, theirs, server):
    """Knot stops a chain after five aliases and leaves the rest to the resolver; we follow eight, NSD and BIND more."""
    fewer = set(theirs.answer) < set(ours.answer) and len(aliases(theirs)) >= 5
    return {"answer", "authority", "code", "glue"} if server == "knot" and fewer else ()


@explained
def nsd_and_signature_types_at_an_alias(asked, ours, theirs, server):
    """Asked for RRSIG or NSEC at a CNAME, NSD follows the alias; such records stand beside a CNAME (RFC 4035 §2.5), so
    Knot, BIND and we say that there are none. Asked for NSEC3, which cannot stand there, it is the other way round."""
    if server == "nsd" and asked.qtype in (46, 47) and aliases(theirs) and not aliases(ours):
        return {"answer", "authority", "code", "AA", "glue"}
    if server == "nsd" and asked.qtype == 50 and aliases(ours) and not aliases(theirs):
        return {"answer", "authority", "code", "AA", "glue"}
    return ()

@explained
def bind_and_meta_type_numbers(asked, ours, theirs, server):
    """BIND calls questions for unassigned numbers of the range for meta types (128-255, RFC 6895 §3.1) malformed; for
    NSD, Knot and us every unknown type is a type that the name has not (RFC 3597)."""
    return ALL if server == "bind" and 128 <= asked.qtype <= 255 and theirs.rcode in (1, 4) else ()


@explained
def knot_and_names_too_long_for_a_dname(asked, ours, theirs, server):
    """Where what a DNAME makes is too long, the code is YXDOMAIN (RFC 6672 §2.2): BIND, NSD and we. Knot says
    NXDOMAIN."""
    return {"code", "authority"} if server == "knot" and ours.rcode == 6 and ours.answer == theirs.answer else ()


def reasons(asked, ours, theirs, server, parts):
    """Names of the explanations that together cover all parts that differ; None if they do not."""
    left, used = set(parts), []
    for function in EXPLAINED:
        if covered := left & set(function(asked, ours, theirs, server)):
            left -= covered
            used.append(function.__name__.replace("_", " "))
    return None if left else used


# --- the run --------------------------------------------------------------------------------------------------------


class Tally:
    def __init__(self, show):
        self.show = show
        self.equal = collections.Counter()
        self.differing = 0
        self.classes = collections.Counter()
        self.unexplained = collections.Counter()

    def judge(self, asked, names):
        ours = asked.replies.get("namestead")
        require(ours is not None, f"no answer from us to {asked}")
        ours = Message(ours)
        for name in names:
            if name not in asked.replies:
                if name == "bind" and asked.qclass == 3:
                    # BIND's built-in zones of class CH have a rate limit of their own, which drops.
                    self.differing += 1
                    self.classes[name, "rate limit of class CH"] += 1
                else:
                    self.unexplained[name, ("no answer",)] += 1
                    print(f"--- {asked}: no answer from {name}", flush=True)
                continue
            try:
                theirs = Message(asked.replies[name])
            except Malformed as problem:
                self.unexplained[name, (f"malformed: {problem}",)] += 1
                continue
            parts = differences(ours, theirs)
            if not parts:
                self.equal[name] += 1
            elif why := reasons(asked, ours, theirs, name, parts):
                self.differing += 1
                self.classes.update((name, each) for each in why)
            else:
                self.report(asked, ours, theirs, name, parts)

    def report(self, asked, ours, theirs, name, parts):
        key = (name, tuple(parts))
        self.unexplained[key] += 1
        if self.unexplained[key] <= self.show:
            print(f"--- {asked}: differs from {name} in {', '.join(parts)}\n"
                  f"  ours:   {ours.show()}\n  {name}: {theirs.show()}", flush=True)


def build():
    """The example server."""
    # A debug build checks itself for overflows while it answers.
    command = ["cargo", "build", "--locked", "-p", "resolver", "--example", "serve", "--message-format=json"]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("target", {}).get("name") == "serve" and message.get("executable"):
            return message["executable"]
    raise Failed(f"cargo made no server: {done.stderr}")


def run(args):
    daemons = {"nsd": ("nsd", nsd), "knot": ("knotd", knot), "bind": ("named", bind)}
    path = os.environ["PATH"] + ":/usr/sbin"
    os.environ["PATH"] = path
    for daemon, _ in daemons.values():
        require(shutil.which(daemon), f"{daemon} is not installed; try: scripts/conformance compare")
    program = build()
    with workspace(args, "same-answers") as directory, contextlib.ExitStack() as stack:
        world = World(random.Random(args.seed), args.names)
        world.write(directory)
        servers = []
        for name, command, port in [("namestead", [program, str(directory / "records")], None)] + [
            (name, make(directory, port), port) for name, (_, make) in daemons.items() for port in [free_port()]
        ]:
            servers.append(Server(name, command, directory, port))
            stack.callback(servers[-1].stop)
        tally, names = Tally(args.show), list(daemons)
        truncated = 0
        for start in range(0, args.queries, BATCH):
            batch = [Asked(world, number) for number in range(start, min(start + BATCH, args.queries))]
            for server in servers:
                ask_udp(server, batch)
            again = [asked for asked in batch if any(len(r) > 2 and r[2] & 2 for r in asked.replies.values())]
            truncated += len(again)
            if again:
                for server in servers:
                    ask_tcp(server, again)
            for asked in batch:
                tally.judge(asked, names)
        for (name, why), count in sorted(tally.classes.items()):
            print(f"  {name}: {count} times {why}")
        for (name, parts), count in sorted(tally.unexplained.items()):
            print(f"  {name}: {count} times UNEXPLAINED: {', '.join(parts)}")
        unexplained = sum(tally.unexplained.values())
        require(not unexplained, f"{unexplained} unexplained differences (seed {args.seed})")
        same = ", ".join(f"{name} {tally.equal[name]:,}" for name in names)
        return (f"{args.queries:,} questions about {len(world.records):,} records, {truncated:,} of them again over TCP; the same answer: "
                f"{same}; {tally.differing:,} differences, all explained (seed {args.seed})")


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--queries", type=int, default=100_000, help="questions (default %(default)s)")
    arguments.add_argument("--names", type=int, default=200, help="ledger names of each kind (default %(default)s)")
    arguments.add_argument("--show", type=int, default=2, help="examples of each unexplained difference (default %(default)s)")
    arguments.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="repeats a run")
    main(run, arguments.parse_args())
