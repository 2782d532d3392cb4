"""An upstream with one peculiarity for each name it is asked about, over UDP and TCP on one port. What a name does is told
by its first label; `PECULIARITIES` lists them all. Bytes are written by hand, since most of them are wrong on purpose."""

import contextlib
import socket
import struct
import threading
import time

import dnswire

PUBLIC = "203.0.113.2"
TTL = 300
A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, SRV, DNAME = 1, 2, 5, 6, 12, 15, 16, 28, 33, 39
FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 1, 2, 3, 4, 5
QR, AA, TC, RD, RA, AD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020
POINTER = b"\xc0\x0c"


def wire(name):
    return dnswire.wire([label.encode() for label in name.rstrip(".").split(".")])


def address(text=PUBLIC, owner=POINTER, ttl=TTL):
    return owner, A, ttl, socket.inet_aton(text)


def soa(owner="example", minimum=300):
    return wire(owner), SOA, TTL, wire("ns.example") + wire("host.example") + struct.pack(">5I", 1, 3600, 600, 86400, minimum)


def opt(payload=1232, code=0, version=0, options=b""):
    return b"\0", 41, code << 24 | version << 16, options, payload


class Query:
    """What was asked, and what can be said about it."""

    def __init__(self, message, via):
        self.message, self.via = message, via
        name, end = dnswire.read_name(message, 12)
        self.labels = [label.decode("latin-1") for label in dnswire.labels_of(name)]
        self.rtype = struct.unpack_from(">H", message, end)[0]
        self.question = message[12 : end + 4]
        self.edns = struct.unpack_from(">H", message, 10)[0] > 0
        self.is_lower = self.question[:-4] == self.question[:-4].lower()

    @property
    def name(self):
        return ".".join(self.labels)

    def reply(self, answers=(), authority=(), additional=None, code=0, flags=QR | RD | RA, question=None, counts=None):
        if additional is None:
            additional = [opt()] if self.edns else []
        question = self.question if question is None else question
        body = b""
        for owner, rtype, ttl, data, *rest in [*answers, *authority, *additional]:
            body += owner + struct.pack(">HHIH", rtype, rest[0] if rest else 1, ttl, len(data)) + data
        numbers = counts or (1 if question else 0, len(answers), len(authority), len(additional))
        return self.message[:2] + struct.pack(">5H", flags | code, *numbers) + question + body

    def plain(self, **how):
        if self.rtype == A:
            return self.reply([address()], **how)
        return self.reply(authority=[soa()], **how)


def without_edns(refusal):
    """Refuses queries with an OPT record."""
    return lambda q: refusal(q) if q.edns else q.plain()


def for_tcp(short, whole=None):
    return lambda q: short(q) if q.via == "udp" else (whole or Query.plain)(q)


def record(rtype, data):
    """One record of the type that is asked for with it."""
    return lambda q: q.reply([(POINTER, rtype, TTL, data)]) if q.rtype == rtype else q.plain()


def many(count):
    return [address(f"198.51.100.{i}") for i in range(1, count + 1)]


def chain(q):
    return [(POINTER, CNAME, TTL, wire("one.example")), (wire("one.example"), CNAME, TTL, wire("two.example")),
            address(owner=wire("two.example"))]


def service(parameters):
    return b"\0\x01\0" + parameters


GOOD = ("NOERROR", [f"A {PUBLIC}"])
EMPTY = ("NOERROR", [])
FAILED = ("SERVFAIL", [])
CHAIN = ("NOERROR", ["CNAME one.example.", "CNAME two.example.", f"A {PUBLIC}"])
# It believes the first alias and asks for the rest itself.
ONE_ALIAS = ("NOERROR", ["CNAME one.example.", f"A {PUBLIC}"])
MANY = ("NOERROR", sorted(f"A 198.51.100.{i}" for i in range(1, 61)))


def generic(rtype, data):
    """Data in the form in which `normal` gives it."""
    return "NOERROR", [f"TYPE{rtype} {data.hex()}"]


class Peculiarity:
    """What is done, which type is asked for, and what of it is right to tell a client. unbound may differ where `unbound` is
    given: docs/dns.md says why."""

    def __init__(self, does, right, rtype=A, unbound=None, is_data=False):
        self.does, self.right, self.rtype, self.unbound, self.is_data = does, right, rtype, unbound, is_data


def passes(rtype, data, unbound=None):
    return Peculiarity(record(rtype, data), generic(rtype, data), rtype, unbound, is_data=True)


P = Peculiarity
PECULIARITIES = {
    # EDNS (RFC 6891 §6.2.2, §7).
    "edns-formerr": P(without_edns(lambda q: q.reply(code=FORMERR, additional=[])), GOOD),
    "edns-formerr-opt": P(without_edns(lambda q: q.reply(code=FORMERR)), GOOD),
    "edns-formerr-header": P(without_edns(lambda q: q.reply(code=FORMERR, question=b"", additional=[])), GOOD),
    "edns-notimp": P(without_edns(lambda q: q.reply(code=NOTIMP, additional=[])), GOOD),
    "edns-servfail": P(without_edns(lambda q: q.reply(code=SERVFAIL, additional=[])), GOOD, unbound=FAILED),
    "edns-badvers": P(without_edns(lambda q: q.reply(additional=[opt(code=1)])), GOOD, unbound=EMPTY),
    "edns-silent": P(without_edns(lambda q: None), GOOD, unbound=FAILED),
    "edns-ignored": P(lambda q: q.plain(additional=[]), GOOD),
    "edns-version-1": P(lambda q: q.plain(additional=[opt(version=1)]), GOOD),
    "edns-twice": P(lambda q: q.plain(additional=[opt(), opt()]), GOOD),
    "edns-unknown-options": P(lambda q: q.plain(additional=[opt(options=dnswire.option(65001, b"x" * 40))]), GOOD),
    "edns-cut-options": P(lambda q: q.plain(additional=[opt(options=b"\0\x0f\0\x09x")]), GOOD),
    # Datagrams that are cut, too long, or damaged (RFC 2181 §9).
    "cut-with-tc": P(for_tcp(lambda q: q.reply(many(60), flags=QR | RD | RA | TC)[:512], lambda q: q.reply(many(60))), MANY),
    "cut-without-tc": P(for_tcp(lambda q: q.reply(many(60))[:512], lambda q: q.reply(many(60))), MANY, unbound=FAILED),
    "tc-empty": P(for_tcp(lambda q: q.reply(flags=QR | RD | RA | TC)), GOOD),
    "tc-always": P(lambda q: q.reply(flags=QR | RD | RA | TC), FAILED),
    "oversized": P(lambda q: q.reply(many(60) + [(POINTER, TXT, TTL, b"\xc8" + b"x" * 200)] * 12), MANY),
    "trailing-bytes": P(lambda q: q.plain() + b"trailing", GOOD),
    "counts-too-high": P(lambda q: q.reply([address()], additional=[], counts=(1, 9, 0, 0)), FAILED),
    "short-header": P(lambda q: q.plain()[:7], FAILED),
    # Letters of the question.
    "lower-case": P(lambda q: q.plain(question=q.question[:-4].lower() + q.question[-4:]), GOOD),
    "upper-case": P(lambda q: q.plain(question=q.question[:-4].upper() + q.question[-4:]), GOOD),
    "refuses-mixed-case": P(lambda q: q.plain() if q.is_lower else q.reply(code=REFUSED), GOOD, unbound=FAILED),
    "denies-mixed-case": P(
        lambda q: q.plain() if q.is_lower else q.reply(code=NXDOMAIN, authority=[soa()]), GOOD, unbound=("NXDOMAIN", [])),
    # Answers that are none.
    "other-id": P(lambda q: b"\xff\xff" + q.plain()[2:], FAILED),
    "other-question": P(lambda q: q.plain(question=b"\5other\0" + q.question[-4:]), FAILED),
    "other-type": P(lambda q: q.plain(question=q.question[:-4] + b"\0\x10\0\1"), FAILED),
    "no-question": P(lambda q: q.reply([address(owner=wire(q.name))], question=b""), FAILED),
    "query-bit": P(lambda q: q.plain(flags=RD | RA), FAILED),
    "silent": P(lambda q: None, FAILED),
    "first-lost": P(None, GOOD),
    "refused": P(lambda q: q.reply(code=REFUSED), ("REFUSED", []), unbound=FAILED),
    "servfail": P(lambda q: q.reply(code=SERVFAIL), FAILED),
    "code-9": P(lambda q: q.reply(code=9), FAILED),
    "referral": P(lambda q: q.reply(authority=[(wire("example"), NS, TTL, wire("ns.example"))], flags=QR | RD), FAILED),
    "no-data-without-soa": P(lambda q: q.reply(), EMPTY),
    "absent-without-soa": P(lambda q: q.reply(code=NXDOMAIN), ("NXDOMAIN", [])),
    "soa-of-another-zone": P(lambda q: q.reply(code=NXDOMAIN, authority=[soa("other")]), ("NXDOMAIN", [])),
    # Aliases.
    "alias-only": P(lambda q: q.reply([(POINTER, CNAME, TTL, wire("end.example"))], flags=QR | RD | AA),
                    ("NOERROR", ["CNAME end.example.", f"A {PUBLIC}"])),
    "chain": P(lambda q: q.reply(chain(q)), CHAIN, unbound=ONE_ALIAS),
    "chain-backwards": P(lambda q: q.reply(chain(q)[::-1]), CHAIN, unbound=ONE_ALIAS),
    "alias-to-itself": P(lambda q: q.reply([(POINTER, CNAME, TTL, wire(q.name))]),
                         ("NOERROR", None), unbound=FAILED),
    "unasked-records": P(lambda q: q.reply([address(), address("203.0.113.66", wire("www.bank.example"))]), GOOD),
    "doubled-records": P(lambda q: q.reply([address()] * 5), GOOD, unbound=("NOERROR", [f"A {PUBLIC}"] * 5)),
    "different-ttls": P(lambda q: q.reply([address("198.51.100.1", ttl=9), address("198.51.100.2")]),
                        ("NOERROR", ["A 198.51.100.1", "A 198.51.100.2"])),
    "huge-ttl": P(lambda q: q.reply([address(ttl=0xFFFFFFFF)]), GOOD),
    "no-ra": P(lambda q: q.plain(flags=QR | RD), GOOD),
    # Record data that a parser could know too well (RFC 3597 §3).
    "caa-long-tag": passes(257, b"\0\x10abcdefghijklmnop"),
    "https-alpn-binary": passes(65, service(b"\0\1\0\3\2\xff\xfe")),
    "https-port-3": passes(65, service(b"\0\3\0\3\1\xbb\0")),
    "https-keys-unsorted": passes(65, service(b"\0\3\0\2\1\xbb\0\1\0\3\2h2")),
    "https-mandatory-empty": passes(65, service(b"\0\0\0\0")),
    "cert-empty": passes(37, b"\0\6\0\0\0"),
    "csync-flag": passes(62, b"\0\0\0\1\0\7\0\1\x40"),
    "naptr-flag": passes(35, b"\0\x64\0\x0a\2x-\0\0\1a\7example\0"),
    "tlsa-short": passes(52, b"\3\0"),
    "private-type": passes(65305, b"anything"),
    "private-empty": passes(65280, b""),
    # The local network in an answer (docs/dns.md, "Rebinding"): unbound's private-address is off as it comes.
    "rebinding": P(lambda q: q.reply([address("192.168.1.1")]), EMPTY, unbound=("NOERROR", ["A 192.168.1.1"])),
    "alias-to-localhost": P(lambda q: q.reply([(POINTER, CNAME, TTL, wire("localhost"))]), EMPTY,
                            unbound=("NOERROR", ["CNAME localhost.", f"A {PUBLIC}"])),
}


# Those to which nothing right ever comes, which is silence.
SILENT = {"silent", "short-header", "other-id", "other-question", "other-type", "no-question", "query-bit"}
# Those that are asked by no rule of their own, because upstreams of rules may be in the local network.
GUARDED = {"rebinding", "alias-to-localhost"}


class Upstream:
    """Listens on an address; what it was asked is in `asked`."""

    def __init__(self, host, port):
        self.host, self.port, self.asked, self.lost, self.lock = host, port, [], set(), threading.Lock()

    def answer(self, message, via):
        try:
            query = Query(message, via)
        except (dnswire.Malformed, struct.error, IndexError):
            return None
        with self.lock:
            self.asked.append((time.monotonic(), via, query.name, query.rtype, query.edns))
        what = query.labels[0] if query.labels else ""
        if what == "first-lost":
            with self.lock:
                is_first = query.name not in self.lost
                self.lost.add(query.name)
            return None if is_first else query.plain()
        known = PECULIARITIES.get(what)
        return known.does(query) if known else query.plain()

    def datagrams(self, listener):
        with contextlib.suppress(OSError):
            while True:
                message, client = listener.recvfrom(65535)
                reply = self.answer(message, "udp")
                if reply is not None:
                    listener.sendto(reply, client)

    def connection(self, stream):
        data = b""
        with stream, contextlib.suppress(OSError):
            while part := stream.recv(65535):
                data += part
                while len(data) >= 2 and len(data) >= 2 + (size := struct.unpack_from(">H", data)[0]):
                    message, data = data[2 : 2 + size], data[2 + size :]
                    reply = self.answer(message, "tcp")
                    if reply is not None:
                        stream.sendall(struct.pack(">H", len(reply)) + reply)

    def connections(self, listener):
        with contextlib.suppress(OSError):
            while True:
                stream, _ = listener.accept()
                threading.Thread(target=self.connection, args=(stream,), daemon=True).start()

    @contextlib.contextmanager
    def running(self):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp = socket.socket()
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with udp, tcp:
            udp.bind((self.host, self.port))
            tcp.bind((self.host, self.port))
            tcp.listen(64)
            for target, listener in ((self.datagrams, udp), (self.connections, tcp)):
                threading.Thread(target=target, args=(listener,), daemon=True).start()
            yield self
