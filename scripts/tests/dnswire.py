"""DNS messages in Python, for tests that must not trust any library: queries to bytes, answers to plain tuples."""

import struct

TYPES = {
    "A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "HINFO": 13, "MX": 15, "TXT": 16, "AAAA": 28, "LOC": 29, "SRV": 33,
    "NAPTR": 35, "DNAME": 39, "OPT": 41, "DS": 43, "SSHFP": 44, "RRSIG": 46, "NSEC": 47, "DNSKEY": 48, "NSEC3": 50,
    "NSEC3PARAM": 51, "TLSA": 52, "SMIMEA": 53, "CDS": 59, "CDNSKEY": 60, "OPENPGPKEY": 61, "CSYNC": 62, "SVCB": 64,
    "HTTPS": 65, "SPF": 99, "NXNAME": 128, "TKEY": 249, "TSIG": 250, "IXFR": 251, "AXFR": 252, "MAILB": 253,
    "MAILA": 254, "ANY": 255, "URI": 256, "CAA": 257,
}
NUMBERS = {number: name for name, number in TYPES.items()}
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED", 6: "YXDOMAIN", 16: "BADVERS"}
# Bytes before the names in record data, and how many names there are (the rest is copied).
NAMES_IN_DATA = {2: (0, 1), 5: (0, 1), 6: (0, 2), 12: (0, 1), 15: (2, 1), 33: (6, 1), 39: (0, 1)}


class Malformed(Exception):
    """Bytes that are no message."""


def wire(labels):
    """Labels (bytes, the first one leftmost) as an uncompressed name."""
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def labels_of(name):
    """What `wire` was given."""
    at, labels = 0, []
    while name[at]:
        labels.append(name[at + 1 : at + 1 + name[at]])
        at += 1 + name[at]
    return labels


def text(name):
    """A name for people and zone files."""
    shown = lambda label: "".join(
        chr(byte) if chr(byte).isascii() and (chr(byte).isalnum() or byte in b"-_*") else f"\\{byte:03}" for byte in label
    )
    return "".join(shown(label) + "." for label in labels_of(name)) or "."


def type_text(number):
    return NUMBERS.get(number, f"TYPE{number}")


def option(code, data=b""):
    return struct.pack(">HH", code, len(data)) + data


def query(name, qtype, ident=0, qclass=1, flags=0, edns=None):
    """`edns` is (payload, flags, options as bytes)."""
    message = struct.pack(">HHHHHH", ident, flags, 1, 0, 0, 0 if edns is None else 1) + name + struct.pack(">HH", qtype, qclass)
    if edns is not None:
        payload, edns_flags, options = edns
        message += b"\0" + struct.pack(">HHIH", 41, payload, edns_flags, len(options)) + options
    return message


def read_name(message, at):
    """The name at `at` in lower case, and where what follows it begins."""
    out, end, jumps = b"", None, 0
    while True:
        if at >= len(message):
            raise Malformed("a name ends early")
        length = message[at]
        if length >= 0xC0:
            if at + 1 >= len(message) or (jumps := jumps + 1) > 64:
                raise Malformed("a bad pointer")
            end = end or at + 2
            at = (length & 0x3F) << 8 | message[at + 1]
        elif length >= 0x40:
            raise Malformed("a bad label")
        elif length == 0:
            return out.lower() + b"\0", end or at + 1
        else:
            out += message[at : at + 1 + length]
            at += 1 + length


def _data(message, rtype, at, length):
    raw = message[at : at + length]
    if rtype not in NAMES_IN_DATA:
        return raw
    fixed, names = NAMES_IN_DATA[rtype]
    out, place = raw[:fixed], at + fixed
    for _ in range(names):
        name, place = read_name(message, place)
        out += name
    return out + message[place : at + length]


class Message:
    """A message taken apart. Records are (owner, type, class, ttl, data); names in them are whole and in lower case."""

    def __init__(self, message):
        if len(message) < 12:
            raise Malformed("shorter than a header")
        self.size = len(message)
        self.ident, self.flags, questions, *counts = struct.unpack(">HHHHHH", message[:12])
        self.questions, at = [], 12
        for _ in range(questions):
            _, end = read_name(message, at)
            self.questions.append(message[at : end + 4])
            at = end + 4
        self.opt = None
        sections = []
        for count in counts:
            section = []
            for _ in range(count):
                owner, at = read_name(message, at)
                if at + 10 > len(message):
                    raise Malformed("a record ends early")
                rtype, rclass, ttl, length = struct.unpack(">HHIH", message[at : at + 10])
                at += 10
                if at + length > len(message):
                    raise Malformed("record data ends early")
                if rtype == 41:
                    if self.opt:
                        raise Malformed("two OPT records")
                    self.opt = (rclass, ttl, message[at : at + length])
                else:
                    section.append((owner, rtype, rclass, ttl, _data(message, rtype, at, length)))
                at += length
            sections.append(section)
        if at != len(message):
            raise Malformed(f"{len(message) - at} bytes follow the message")
        self.answer, self.authority, self.additional = sections

    @property
    def rcode(self):
        return self.flags & 15 | ((self.opt[1] >> 24) << 4 if self.opt else 0)

    @property
    def authoritative(self):
        return bool(self.flags & 0x0400)

    @property
    def truncated(self):
        return bool(self.flags & 0x0200)

    def options(self):
        """(code, data) of each EDNS option."""
        rest, found = self.opt[2] if self.opt else b"", []
        while rest:
            code, length = struct.unpack(">HH", rest[:4])
            found.append((code, rest[4 : 4 + length]))
            rest = rest[4 + length :]
        return found

    def show(self):
        """One line a part, for people."""
        flags = [name for name, bit in (("aa", 0x400), ("tc", 0x200), ("rd", 0x100), ("ra", 0x80), ("z", 0x40), ("ad", 0x20), ("cd", 0x10)) if self.flags & bit]
        lines = [f"{RCODES.get(self.rcode, self.rcode)} {' '.join(flags)}"]
        for mark, section in (("", self.answer), ("@ ", self.authority), ("+ ", self.additional)):
            for owner, rtype, _, ttl, data in sorted(section):
                shown = text(data) if rtype in (2, 5, 39) else data.hex()
                lines.append(f"    {mark}{text(owner)} {ttl} {type_text(rtype)} {shown}")
        return "\n".join(lines)
