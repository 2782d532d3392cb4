"""A random zone with everything that names of the ledger can hold, as input of the resolver's example server and as a
zone file for others; and random questions about it."""

import ipaddress
import struct

from dnswire import TYPES, labels_of, text, wire

HEIGHT = 10_000
NEGATIVE_TTL_S = 60
APEX = [b"p2p"]


def string(data):
    return bytes([len(data)]) + data


def dotted(name):
    """`www.example` as a wire name."""
    return wire([label.encode() for label in name.split(".") if label])


class World:
    """Records by owner. `count` ledger names of each kind."""

    def __init__(self, rng, count):
        self.rng = rng
        self.records = []  # (ledger name, owner labels below it, type, ttl, data)
        self.owners = []  # full wire names, wildcards and what is below cuts included
        kinds = [self.host, self.wildcard, self.deep, self.alias, self.redirect, self.cut, self.crowd, self.odd]
        for number in range(count):
            for kind in kinds:
                self.name = f"{kind.__name__}{number:03x}"
                kind()
        self.types = {}
        for name, sub, rtype, _, _ in self.records:
            self.types.setdefault(self.full(name, sub), []).append(rtype)
        self.owners = list(self.types)

    @staticmethod
    def full(name, sub):
        return wire([*sub, name.encode(), *APEX])

    def add(self, sub, rtype, data, ttl=None):
        labels = tuple(label if isinstance(label, bytes) else label.encode() for label in (sub.split(".") if isinstance(sub, str) and sub else sub or ()))
        record = (self.name, labels, TYPES.get(rtype, rtype), ttl or self.rng.choice((60, 300, 3600, 86_400)), data)
        same = [r for r in self.records[-40:] if r[:3] == record[:3]]
        if any(r[4] == data for r in same):
            return
        if same:  # a set has one TTL
            record = (*record[:3], same[0][3], data)
        self.records.append(record)

    def v4(self):
        return self.rng.randbytes(4)

    def somewhere(self):
        """A name that an alias can lead to: mostly one that is there."""
        rng, roll = self.rng, self.rng.random()
        if roll < 0.6 and self.records:
            name, sub, *_ = rng.choice(self.records)
            return self.full(name, [label if label != b"*" else b"star" for label in sub])
        if roll < 0.7:
            return dotted(f"{self.name}.p2p")
        if roll < 0.8:
            return dotted(f"absent{rng.randrange(9)}.p2p")
        if roll < 0.9:
            return dotted(f"x.deep{rng.randrange(4):03x}.p2p")
        return dotted(rng.choice(("www.example.org", "p2p", "ns.nic.p2p", "example.com")))

    # --- kinds of names -----------------------------------------------------------------------------------------

    def host(self):
        """Every type, at the name and a little below."""
        rng = self.rng
        for _ in range(rng.randrange(1, 4)):
            self.add("", "A", self.v4())
        self.add("", "AAAA", rng.randbytes(16))
        self.add("", "TXT", string(b"v=spf1 -all") + string(rng.randbytes(rng.randrange(30))))
        self.add("", "MX", struct.pack(">H", 10) + self.somewhere())
        self.add("", "CAA", b"\0\x05issueca.example")
        self.add("", "LOC", bytes.fromhex("00121613800000008000000000989680"))
        self.add("", "URI", struct.pack(">HH", 1, 2) + b"https://example.org/")
        self.add("", "SSHFP", b"\x04\x02" + rng.randbytes(32))
        self.add("", "HTTPS", b"\x00\x01\x00" + struct.pack(">HH", 1, 3) + b"\x02h2")
        self.add("_sip._tcp", "SRV", struct.pack(">HHH", 0, 5, 5060) + self.somewhere())
        self.add("_443._tcp", "TLSA", b"\x03\x01\x01" + rng.randbytes(32))
        self.add("_dns", "SVCB", b"\x00\x01" + self.somewhere())
        self.add("mail", "A", self.v4())
        self.add("key._openpgpkey", "OPENPGPKEY", rng.randbytes(40))
        self.add("cert._smimecert", "SMIMEA", b"\x03\x00\x01" + rng.randbytes(32))
        self.add("", "NAPTR", struct.pack(">HH", 100, 10) + string(b"u") + string(b"E2U+sip") + string(b"!^.*$!sip:a@b!") + b"\0")
        self.add("", rng.randrange(65_280, 65_535), rng.randbytes(rng.randrange(20)))

    def wildcard(self):
        rng = self.rng
        if rng.random() < 0.7:
            self.add("*", "A", self.v4())
            self.add("*", "MX", struct.pack(">H", 10) + self.somewhere())
        if rng.random() < 0.5:
            self.add("*.dev", "AAAA", rng.randbytes(16))
        if rng.random() < 0.5:
            self.add("host.dev", "TXT", string(b"not the star"))
        if rng.random() < 0.4:
            self.add("*.alias", "CNAME", self.somewhere())
        if rng.random() < 0.3:
            self.add("a.b.ent", "A", self.v4())
            self.add("*.ent", "A", self.v4())
        self.add("", "TXT", string(b"apex"))

    def deep(self):
        """Empty non-terminals."""
        self.add("a.b.c.d", "A", self.v4())
        if self.rng.random() < 0.5:
            self.add("x.c.d", "TXT", string(b"x"))
        if self.rng.random() < 0.3:
            self.add("", "A", self.v4())

    def alias(self):
        rng = self.rng
        if rng.random() < 0.4:
            self.add("", "CNAME", self.somewhere())
        self.add("www", "CNAME", self.somewhere())
        for step in range(rng.randrange(1, 7)):
            self.add(f"chain{step}", "CNAME", dotted(f"chain{step + 1}.{self.name}.p2p"))
        self.add(f"chain{step + 1}", rng.choice(("A", "AAAA", "TXT")), b"\x0f" + rng.randbytes(15))
        if self.records[-1][2] == 1:
            *head, _ = self.records.pop()
            self.records.append((*head, self.v4()))
        if rng.random() < 0.2:
            self.add("round", "CNAME", dotted(f"trip.{self.name}.p2p"))
            self.add("trip", "CNAME", dotted(f"round.{self.name}.p2p"))
        if rng.random() < 0.2:
            self.add("self", "CNAME", dotted(f"self.{self.name}.p2p"))

    def redirect(self):
        rng = self.rng
        if rng.random() < 0.4:
            self.add("", "DNAME", self.somewhere())
            self.add("", "A", self.v4())
        else:
            self.add("old", "DNAME", self.somewhere())
            self.add("old", "TXT", string(b"beside a DNAME"))
            self.add("to", "CNAME", dotted(f"some.old.{self.name}.p2p"))
        if rng.random() < 0.2:
            self.name += "z"
            self.add("", "DNAME", wire([b"l" * 60, b"m" * 60, b"n" * 60, *APEX]))

    def cut(self):
        """Delegations: of the whole name, or of a part."""
        rng = self.rng
        at = rng.choice(("", "child", "a.b"))
        below = (at + "." if at else "")
        own = f"{below}{self.name}.p2p"
        if rng.random() < 0.8:
            self.add(at, "NS", dotted(f"ns1.{own}"))
            self.add(below + "ns1", "A", self.v4())
            self.add(below + "ns1", "AAAA", rng.randbytes(16))
        if rng.random() < 0.3 or not self.records or self.records[-1][0] != self.name:
            self.add(at, "NS", dotted("ns.example.org"))
        if rng.random() < 0.3:
            self.add(at, "NS", dotted(f"mail.host{rng.randrange(4):03x}.p2p"))
        if rng.random() < 0.5:
            self.add(at, "DS", struct.pack(">HBB", 4711, 13, 2) + rng.randbytes(32))
        if rng.random() < 0.2:
            self.add(at, "NS", dotted(own))  # the cut itself
            self.add(at, "A", self.v4())
        if rng.random() < 0.3:
            self.add(below + "deeper.hidden", "TXT", string(b"occluded"))
        if at:
            self.add("www", "A", self.v4())
            if rng.random() < 0.5:
                self.add("into", "CNAME", dotted(f"www.{own}"))

    def crowd(self):
        """Answers that do not fit a datagram, or only just."""
        for number in range(self.rng.randrange(8, 24)):
            self.add("", self.rng.choice(("TXT", "MX")), string(self.rng.randbytes(self.rng.randrange(10, 40))))
        self.records = [self.as_mx(record) for record in self.records]

    def as_mx(self, record):
        """Text in an MX set becomes a host name."""
        if record[2] == 15 and record[4][0] != 0:
            host = record[4][1:9].hex().encode()
            return (*record[:4], struct.pack(">H", 20) + wire([host, self.name.encode(), *APEX]))
        return record

    def odd(self):
        """Labels that are not host names."""
        rng = self.rng
        self.add((b"a.b",), "A", self.v4())
        self.add((b"\0\xff ",), "A", self.v4())
        self.add((b"sp ace", b"_x"), "TXT", string(b""))
        self.add((b"@",), "A", self.v4())
        self.add((b"l" * 60,), "A", self.v4())
        self.add((b"**",), "A", self.v4())
        if rng.random() < 0.5:
            self.add((b"*", b"\x07bell"), "A", self.v4())

    # --- files --------------------------------------------------------------------------------------------------

    def write(self, directory, addresses=("127.0.0.1",)):
        """`records` for the example server, `p2p.zone` for the others."""
        rows = (
            f"{name} {wire(sub)[:-1].hex() or '-'} {rtype} {ttl} {data.hex()}\n" for name, sub, rtype, ttl, data in self.records
        )
        (directory / "records").write_text("".join(rows))
        lines = [
            "$ORIGIN p2p.\n",
            f"@ {NEGATIVE_TTL_S} IN SOA ns.nic hostmaster.nic {HEIGHT} 120 60 604800 {NEGATIVE_TTL_S}\n",
            "@ 3600 IN NS ns.nic\n",
            *(f"ns.nic 3600 IN {'AAAA' if ':' in str(a) else 'A'} {ipaddress.ip_address(a)}\n" for a in addresses),
        ]
        for name, sub, rtype, ttl, data in self.records:
            lines.append(f"{text(self.full(name, sub))} {ttl} IN TYPE{rtype} \\# {len(data)} {data.hex()}\n")
        (directory / "p2p.zone").write_text("".join(lines))

    # --- questions ----------------------------------------------------------------------------------------------

    def question(self):
        """A name and a type, near what is there."""
        rng, roll = self.rng, self.rng.random()
        if roll < 0.05:
            name = dotted(rng.choice(("p2p", "ns.nic.p2p", "nic.p2p", "x.nic.p2p", "x.ns.nic.p2p", "hostmaster.nic.p2p")))
            return name, rng.choice((1, 2, 6, 6, 15, 28, 43, 48, 255, 5, 39, 46, 47, self.any_type()))
        if roll < 0.12:
            name = f"{''.join(rng.choices('abcdefghij-', k=rng.randrange(1, 12)))}.p2p"
            return dotted(rng.choice(("", "www.", "a.b.c.")) + name), self.any_type()
        owner = rng.choice(self.owners)
        labels, types = labels_of(owner), self.types[owner]
        roll = rng.random()
        if b"*" in labels and roll < 0.9:
            labels = [*rng.choice(([b"any"], [b"two", b"labels"], [b"*"], [b"x", b"*"])), *labels[1:]]
        elif roll < 0.60:
            pass
        elif roll < 0.80:
            labels = [rng.choice((b"x", b"www", b"*", b"ns1", b"a.b", b"deeper", b"_tcp")), *labels]
        elif roll < 0.92 and len(labels) > 2:
            labels = labels[rng.randrange(1, len(labels) - 1) :]
        elif roll < 0.96:
            at = rng.randrange(len(labels) - 1)
            labels[at] = labels[at][:-1] + b"q"
        else:
            labels = [*([b"y" * rng.randrange(1, 64)] * rng.randrange(1, 4)), *labels]
        if len(wire(labels)) > 255:
            labels = labels[-2:]
        return wire(labels), rng.choice(types) if rng.random() < 0.55 else self.any_type()

    def any_type(self):
        rng, roll = self.rng, self.rng.random()
        if roll < 0.85:
            return rng.choice([number for number in TYPES.values() if number not in (41, 128, 249, 250, 251, 252)])
        if roll < 0.95:
            return rng.randrange(1, 65_536)
        return rng.choice((0, 41, 128, 249, 250, 251, 252, 65_535))

    def mixed_case(self, name):
        return bytes(b ^ 0x20 if chr(b).isalpha() and b < 128 and self.rng.random() < 0.5 else b for b in name)
