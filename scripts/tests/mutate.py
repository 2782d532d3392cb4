#!/usr/bin/env python3
"""Mutated DNS messages against a live node, over UDP, TCP and, where the node serves it, DNS over HTTPS.

Valid queries are changed in ways that break decoders: flipped bits, cut ends, lengths and counts that lie, pointers in
circles, two messages spliced, records doubled. In between, after each batch, a valid query must be answered rightly; all
answers must be messages of the right size; and at the end the process must be the same, without a panic in its log, its
memory grown by no more than a stated bound.
"""

import contextlib
import random
import socket
import ssl
import struct
import time

import dnswire
from common import Failed, Net, main, no_panics, parser, require, until, workspace
from harness.wallet import Wallet

GROWTH_MIB = 32
# The share of messages that are answered at least; what claims to be a response, or is shorter than a header, is not.
ANSWERED = 0.85
UDP_LIMIT = 1232
# Small enough for the server's receive buffer: what it drops has not been tested.
BATCH = 150
# The ledger name that `survives` asks for in between, with this address.
LABEL = "mutate"
NAME = dnswire.wire([LABEL.encode(), b"p2p"])
ADDRESS = bytes([192, 0, 2, 7])


# --- what is sent ---------------------------------------------------------------------------------------------------


def corpus():
    """Valid queries of many shapes."""
    names = [NAME, dnswire.wire([b"p2p"]), dnswire.wire([b"www", b"mutate", b"p2p"]), dnswire.wire([b"nobody", b"p2p"]), b"\0",
             dnswire.wire([b"x"] * 60 + [b"mutate", b"p2p"]), dnswire.wire([b"l" * 63, b"m" * 63, b"mutate", b"p2p"]),
             dnswire.wire([b"version", b"bind"]), dnswire.wire([b"example", b"com"]), dnswire.wire([b"MuTaTe", b"P2P", b"alt"])]
    options = [b"", dnswire.option(10, bytes(8)), dnswire.option(10, bytes(24)), dnswire.option(3), dnswire.option(12, bytes(64)),
               dnswire.option(8, b"\0\1\x18\0\xc0\0\2"), dnswire.option(11), dnswire.option(65_001, b"x" * 20)]
    messages = []
    for name in names:
        for number, qtype in enumerate((1, 2, 6, 16, 28, 43, 48, 255, 252, 65_280)):
            edns = None if number % 3 == 0 else (1232, 0x8000 if number % 2 else 0, options[(number + len(name)) % len(options)])
            messages.append(dnswire.query(name, qtype, qclass=3 if b"bind" in name else 1, flags=0x0100, edns=edns))
    # NOTIFY, UPDATE, a TSIG record, a transfer with its serial.
    soa = dnswire.query(dnswire.wire([b"p2p"]), 6, flags=4 << 11)
    messages += [soa, bytes([*soa[:2], 5 << 3, *soa[3:]])]
    tsig = dnswire.wire([b"key"]) + struct.pack(">HHIH", 250, 255, 0, 38) + dnswire.wire([b"hmac-sha256"]) + bytes(25)
    messages.append(dnswire.query(NAME, 1)[:11] + b"\1" + dnswire.query(NAME, 1)[12:] + tsig)
    return messages


class Mutator:
    """Endless changed messages, the same ones for the same seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.valid = corpus()
        self.ways = [self.flip, self.flip, self.put, self.cut, self.lengthen, self.count, self.point, self.splice, self.length, self.double, self.noise]

    def __call__(self):
        message = bytearray(self.random.choice(self.valid))
        for _ in range(self.random.choice((1, 1, 1, 2, 3))):
            message = self.random.choice(self.ways)(message)
        return bytes(message)

    def place(self, message):
        return int(self.random.random() * len(message))

    def flip(self, message):
        for _ in range(1 + int(self.random.random() * 4)):
            if message:
                message[self.place(message)] ^= 1 << int(self.random.random() * 8)
        return message

    def put(self, message):
        if message:
            message[self.place(message)] = self.random.choice((0, 1, 63, 64, 127, 128, 191, 192, 255))
        return message

    def cut(self, message):
        return message[: self.place(message)]

    def lengthen(self, message):
        return message + self.random.randbytes(self.random.choice((1, 4, 11, 40, 500)))

    def count(self, message):
        at = self.random.choice((4, 6, 8, 10))
        message[at : at + 2] = struct.pack(">H", self.random.choice((0, 1, 2, 255, 65_535)))
        return message

    def point(self, message):
        """A compression pointer: to itself, ahead, behind, into the header."""
        at = 12 + int(self.random.random() * max(1, len(message) - 12))
        target = self.random.choice((at, at + 2, 12, 0, max(0, at - 1), 0x3FFF))
        message[at : at + 2] = struct.pack(">H", 0xC000 | target & 0x3FFF)
        return message

    def splice(self, message):
        other = self.random.choice(self.valid)
        return message[: self.place(message)] + other[int(self.random.random() * len(other)) :]

    def length(self, message):
        """A wrong number where the length of a label, an option or of data stands."""
        if len(message) > 16:
            at = self.random.choice((12, len(message) - 1, len(message) - 2, 12 + message[12] + 1, self.place(message)))
            if at < len(message):
                message[at] = int(self.random.random() * 256)
        return message

    def double(self, message):
        """The end of the message once more, and counted."""
        if len(message) > 12:
            message = message + message[-11:]
            message[11] = (message[11] + 1) & 255
        return message

    def noise(self, message):
        return message[:12] + self.random.randbytes(int(self.random.random() * 80))


# --- ways to send ---------------------------------------------------------------------------------------------------


def control(ident):
    return dnswire.query(NAME, 1, ident=ident, flags=0x0100)


def parsed(reply, limit=65_535):
    """A reply taken apart: whatever was sent, what comes back is a response."""
    try:
        message = dnswire.Message(reply)
    except dnswire.Malformed as error:
        raise Failed(f"{error} in an answer: {reply.hex()}") from error
    require(len(reply) <= limit and message.flags & 0x8000, f"a strange answer: {reply.hex()}")
    return message


def check_control(message):
    require(message.rcode == 0 and [r[4] for r in message.answer] == [ADDRESS], f"a valid query is answered wrongly: {message.show()}")


class Udp:
    """Four sockets, so that all of the server's threads get their share."""

    name = "UDP"

    def __init__(self, host, port):
        self.sockets, self.closed = [], 0
        for _ in range(4):
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            udp.settimeout(3)
            udp.connect((host, port))
            self.sockets.append(udp)
        self.rounds = self.answers = 0

    def close(self):
        for udp in self.sockets:
            udp.close()

    def batch(self, messages):
        self.rounds += 1
        udp = self.sockets[self.rounds % 4]
        for message in messages:
            if message:
                udp.send(message)
        wanted = b"\xc0" + bytes([self.rounds & 255])
        # Mutated copies may have the same number; a question answered with an address can only be this one.
        for _ in range(3):
            udp.send(control(struct.unpack(">H", wanted)[0]))
            with contextlib.suppress(TimeoutError):
                while True:
                    reply = udp.recv(65_535)
                    self.answers += 1
                    message = parsed(reply, UDP_LIMIT)
                    if reply[:2] == wanted and message.questions == [control(0)[12:]]:
                        return check_control(message)
        raise Failed(f"no answer to a valid query over UDP in round {self.rounds}")


class Tcp:
    """Many messages on one connection; what is closed is opened again."""

    name = "TCP"

    def __init__(self, host, port):
        self.target, self.connection = (host, port), None
        self.rounds = self.answers = self.closed = 0

    def close(self):
        if self.connection:
            self.connection.close()

    def open(self):
        self.connection = socket.create_connection(self.target, timeout=5)
        self.reader = self.connection.makefile("rb")

    def batch(self, messages):
        self.rounds += 1
        # A framing that lies ends a connection; it comes last, on a connection that is then given up.
        lies = self.rounds % 8 == 0
        framed = b"".join(struct.pack(">H", len(message)) + message for message in messages)
        self.exchange(framed)
        if lies:
            with socket.create_connection(self.target, timeout=5) as other, contextlib.suppress(OSError):
                other.sendall(struct.pack(">H", 65_535) + framed[:3_000])
        # Whatever became of the messages, a new connection is served.
        if self.rounds % 4 == 0 and self.connection:
            self.connection.close()
            self.connection = None

    def exchange(self, framed):
        for _ in range(2):
            if self.connection is None:
                self.open()
            try:
                query = control(0xC0C0)
                self.connection.sendall(framed + struct.pack(">H", len(query)) + query)
                return self.read_until(query[12:])
            except (OSError, EOFError):
                # The server may end a connection that sends nonsense; then the valid query goes over a new one.
                self.closed += 1
                self.close()
                self.connection, framed = None, b""
        raise Failed(f"no answer to a valid query over TCP in round {self.rounds}")

    def read_until(self, question):
        while True:
            head = self.reader.read(2)
            if len(head) < 2:
                raise EOFError
            length = struct.unpack(">H", head)[0]
            reply = self.reader.read(length)
            if len(reply) < length:
                raise EOFError
            self.answers += 1
            message = parsed(reply)
            if reply[:2] == b"\xc0\xc0" and message.questions == [question] and message.rcode == 0:
                return check_control(message)


class Https:
    """DNS over HTTPS (RFC 8484) on HTTP/2 by hand: POST, many streams at a time."""

    name = "DoH"
    PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    STREAMS = 50

    def __init__(self, host, port):
        self.target, self.connection = (host, port), None
        self.rounds = self.answers = self.stream = self.closed = 0
        self.leaving = False

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    @staticmethod
    def frame(kind, flags, stream, payload=b""):
        return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload

    def open(self):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        self.connection = context.wrap_socket(socket.create_connection(self.target, timeout=10), server_hostname="localhost")
        require(self.connection.selected_alpn_protocol() == "h2", "DoH does not speak HTTP/2")
        self.reader = self.connection.makefile("rb")
        # No pushes, wide windows.
        settings = struct.pack(">HIHI", 2, 0, 4, 1 << 24)
        self.connection.sendall(self.PREFACE + self.frame(4, 0, 0, settings) + self.frame(8, 0, 0, struct.pack(">I", 1 << 30)))
        self.stream, self.leaving = 1, False

    @classmethod
    def post(cls, message, stream):
        """The two frames of a request. HPACK without its tables: POST, https, path, authority, content type."""
        block = (b"\x83\x87\x04\x0a/dns-query\x01\x09localhost\x0f\x10\x17application/dns-message"
                 + b"\x0f\x0d" + bytes([len(str(len(message)))]) + str(len(message)).encode())
        return cls.frame(1, 4, stream, block), cls.frame(0, 1, stream, message)

    def request(self, message):
        self.stream += 2
        return b"".join(self.post(message, self.stream - 2))

    def batch(self, messages):
        self.rounds += 1
        messages = [message for message in messages if len(message) < 16_000]
        for start in range(0, len(messages), self.STREAMS - 1):
            self.exchange([*messages[start : start + self.STREAMS - 1], control(0)])

    def exchange(self, messages):
        """Sends these and takes all answers; the last one is to a valid query."""
        for _ in range(3):
            if self.connection is None or self.leaving or self.stream > 20_000:
                self.close()
                self.open()
            try:
                messages = self.attempt(messages)
            except OSError:
                # A server may end a connection; what was under way goes over a new one.
                self.closed += 1
                self.leaving = True
                continue
            if not messages:
                return
        raise Failed(f"DoH ended three connections in a row in round {self.rounds}")

    def attempt(self, messages):
        """The messages that the server has not taken because it ends the connection in order; mostly none."""
        first, body = self.stream, b""
        last = first + 2 * (len(messages) - 1)
        waiting, left = set(range(first, last + 2, 2)), []
        self.connection.sendall(b"".join(map(self.request, messages)))
        while waiting:
            head = self.reader.read(9)
            if len(head) < 9:
                raise ConnectionResetError("DoH closed the connection")
            payload = self.reader.read(int.from_bytes(head[:3], "big"))
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big") & 0x7FFF_FFFF
            if kind == 4 and not flags & 1:
                self.connection.sendall(self.frame(4, 1, 0))
            elif kind == 6 and not flags & 1:
                self.connection.sendall(self.frame(6, 1, 0, payload))
            elif kind == 7:
                served, error = struct.unpack(">II", payload[:8])
                require(error == 0, f"DoH says good-bye with error {error}: {payload!r}")
                self.leaving = True
                waiting = {one for one in waiting if one <= served}
                left = messages[max(0, (served - first) // 2 + 1) :]
            elif kind == 0 and stream == last:
                body += payload
            require(kind != 3, f"DoH resets a stream in round {self.rounds}: error {int.from_bytes(payload, 'big')}")
            if kind in (0, 1) and flags & 1:
                waiting.discard(stream)
                self.answers += 1
        if not left:
            check_control(parsed(body))
        return left


# --- the run --------------------------------------------------------------------------------------------------------


def ways_of(node, https_port):
    host, port = node.dns.rsplit(":", 1)
    ways = [(Udp(host, int(port)), 0.6 if https_port else 0.7), (Tcp(host, int(port)), 0.25 if https_port else 0.3)]
    return [*ways, (Https(host, https_port), 0.15)] if https_port else ways


def survives(node, count, seed, https_port=None):
    """Sends `count` mutated messages and says how it went. LABEL must be registered with ADDRESS."""
    mutate, pid = Mutator(seed), node.pid
    ways = ways_of(node, https_port)

    def send(way, messages):
        for start in range(0, messages, BATCH):
            way.batch([mutate() for _ in range(min(BATCH, messages - start))])

    for way, share in ways:  # caches and buffers fill before memory is measured
        send(way, max(BATCH, int(min(count, 100_000) * share / 5)))
    memory, began, said = node.resident_kib(), time.monotonic(), []
    for way, share in ways:
        started, answers = time.monotonic(), way.answers
        send(way, int(count * share))
        rate = count * share / (time.monotonic() - started)
        require(way.answers - answers >= ANSWERED * int(count * share), f"over {way.name} only {way.answers - answers:,} of {int(count * share):,} messages were answered")
        require(way.closed <= max(1, way.rounds // 100), f"over {way.name} the node ended {way.closed} connections in {way.rounds} rounds")
        said.append(f"{int(count * share):,} over {way.name} ({rate:,.0f}/s, {way.answers - answers:,} answers"
                    + (f", {way.closed} connections ended by the node)" if way.closed else ")"))
        way.close()
    require(node.is_running() and node.pid == pid, "the node is gone")
    require(not node.log_has_panic(), f"the node panicked; see {node.log}")
    grown = (node.resident_kib() - memory) / 1024
    require(grown <= GROWTH_MIB, f"memory grew by {grown:.1f} MiB, more than {GROWTH_MIB}")
    seconds = time.monotonic() - began
    return f"{count:,} mutated messages in {seconds:.0f} s: {', '.join(said)}; memory {grown:+.1f} MiB of {GROWTH_MIB} allowed"


def offer_https(node):
    """Adds DNS over HTTPS to a node's settings; the port."""
    port = int(node.dns.rsplit(":", 1)[1]) + 4
    node.config.write_text(node.config.read_text() + f'\n[dns.tls]\nhttps_listen = ["127.0.0.1:{port}"]\n')
    return port


def run(args):
    with workspace(args, "mutate") as directory, Net.plan(1, directory) as net:
        net.write_configs()
        https_port = offer_https(net[1])
        net.start()
        net.wait_until_producing(60)
        Wallet(directory / "wallet", net[1]).create().register(LABEL, "@ 300 IN A 192.0.2.7\nwww 300 IN CNAME mutate.p2p.\n", wait=True)
        until(lambda: net[1].dig(f"{LABEL}.p2p"), 10, "see the name in DNS")
        said = survives(net[1], args.count, args.seed, https_port)
        no_panics(net)
        return f"{said} (seed {args.seed})"


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--count", type=int, default=1_000_000, help="mutated messages (default %(default)s)")
    arguments.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="repeats a run")
    main(run, arguments.parse_args())
