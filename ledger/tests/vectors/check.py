#!/usr/bin/env python3
"""Recomputes the golden vectors from the documented layouts, in another language and with other libraries.

    python3 ledger/tests/vectors/check.py

Needs Python 3.9 and, for Argon2d, the package `argon2-cffi` (left out with a note where it is missing). Prints one
line per file and ends with status 1 at the first difference.
"""

import hashlib
import struct
import sys
from fractions import Fraction
from pathlib import Path

HERE = Path(__file__).parent
TYPES = {
    1: "COMMIT", 2: "REVEAL", 3: "UPDATE", 4: "TRANSFER", 5: "CANCEL", 6: "RENEW", 7: "REVOKE", 8: "CLAIM", 10: "ROLL",
}
RESERVED = "www nic opennic localhost local test invalid example onion alt arpa home internal wpad isatap p2p".split()
MAX = 2**256 - 1


def sha3(data):
    return hashlib.sha3_256(data).digest()


def h(tag, *parts):
    t = sha3(b"namestead/1/" + tag.encode())
    return sha3(t + t + bytes(72) + b"".join(parts))


def load(name):
    """[(title, {key: value})] of a file."""
    sections = []
    for line in (HERE / f"{name}.txt").read_text().splitlines():
        if line.startswith("["):
            sections.append((line[1:-1], {}))
        elif line:
            key, value = line.split(" = ", 1)
            assert key not in sections[-1][1] or sections[-1][1][key] == value, f"{name}: {key} stands twice"
            sections[-1][1][key] = value
    return sections


def same(what, got, expected):
    if isinstance(got, bytes):
        got = got.hex()
    got, expected = str(got), str(expected)
    if got != expected:
        at = next((i for i, (a, b) in enumerate(zip(got, expected)) if a != b), min(len(got), len(expected)))
        near = slice(max(0, at - 64), at + 64)
        sys.exit(f"{what}, character {at}: computed {got[near]}, the file says {expected[near]}")


def unhex(section, *keys):
    return [bytes.fromhex(section[key]) for key in keys]


# --- secp256k1, from the textbook ------------------------------------------------------------------------------

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)


def add(a, b):
    if a is None or b is None:
        return a or b
    if a[0] == b[0]:
        if (a[1] + b[1]) % P == 0:
            return None
        slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, P) % P
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P) % P
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def times(k, point):
    result = None
    while k:
        if k & 1:
            result = add(result, point)
        point, k = add(point, point), k >> 1
    return result


def compressed(point):
    return bytes([2 + point[1] % 2]) + point[0].to_bytes(32, "big")


def decompress(key):
    x = int.from_bytes(key[1:], "big")
    y = pow(x**3 + 7, (P + 1) // 4, P)
    assert y * y % P == (x**3 + 7) % P, "the key is not on the curve"
    return x, y if y % 2 == key[0] % 2 else P - y


def verify(key, digest, signature):
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    assert 0 < r < N and 0 < s <= N // 2, "r or s out of range, or s is high"
    w, z = pow(s, -1, N), int.from_bytes(digest, "big")
    point = add(times(z * w % N, G), times(r * w % N, decompress(key)))
    assert point is not None and point[0] % N == r, "the signature does not verify"


def check_witness(witness, digest):
    """Returns the policy's bytes."""
    m, n = witness[0], witness[1]
    keys = [witness[2 + 33 * i : 35 + 33 * i] for i in range(n)]
    assert keys == sorted(set(keys)) and 1 <= m <= n <= 8
    rest = witness[2 + 33 * n :]
    assert rest[0] == m and len(rest) == 1 + 65 * m
    indices = [rest[1 + 65 * i] for i in range(m)]
    assert indices == sorted(set(indices))
    for i, index in enumerate(indices):
        verify(keys[index], digest, rest[2 + 65 * i : 66 + 65 * i])
    return witness[: 2 + 33 * n]


# --- bech32m (BIP 350) -----------------------------------------------------------------------------------------


def bech32m(prefix, data):
    alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    bits = int.from_bytes(data, "big") << (-8 * len(data) % 5)
    count = -(-8 * len(data) // 5)
    words = [bits >> 5 * (count - 1 - i) & 31 for i in range(count)]

    def polymod(values):
        check = 1
        for value in values:
            top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
            for i, g in enumerate([0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3]):
                check ^= g if top >> i & 1 else 0
        return check

    head = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    check = polymod(head + words + [0] * 6) ^ 0x2BC830A3
    return prefix + "1" + "".join(alphabet[w] for w in words + [check >> 5 * (5 - i) & 31 for i in range(6)])


# --- identity and networks -------------------------------------------------------------------------------------


def merkle(ids):
    level = [h("txl", i) for i in ids]
    while len(level) > 1:
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = [h("txn", *pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return level[0] if level else bytes(32)


def identity():
    for title, section in load("identity"):
        if title == "tags":
            message = bytes.fromhex(section.pop("message"))
            for key, digest in section.items():
                tag, _, what = key.split(" ")
                same(key, h(tag, message if what == "message" else b""), digest)
        elif title == "merkle":
            for key, root in section.items():
                count = int(key.rsplit(" ", 1)[1])
                same(key, merkle([bytes([n]) * 32 for n in range(count)]), root)
        elif title.startswith("policy"):
            policy, digest, witness = unhex(section, "policy", "digest", "witness")
            same(title, h("policy", policy), section["hash"])
            for network, prefix in (("main", "name"), ("test", "tname"), ("local", "lname")):
                same(network, bech32m(prefix, h("policy", policy)), section[f"address {network}"])
            same(title, check_witness(witness, digest), policy.hex())
        elif title.startswith("commit to"):
            chain, name, secret, salt, owner = unhex(section, "chain_id", "name", "secret", "salt", "owner")
            assert name[0] == len(name) - 1
            public = compressed(times(int.from_bytes(secret, "big"), G))
            same("owner", h("policy", b"\x01\x01" + public), owner.hex())
            attempt = struct.pack("<I", int(section["attempt"]))
            same("salt", h("salt", secret, chain, attempt, name[1:])[:16], salt.hex())
            commit = h("commit", chain, salt, owner, name)
            same("commit_hash", commit, section["commit_hash"])
            same("name key", h("key", b"\x01", name[1:]), section["name key"])
            same("commit key", h("key", bytes([2, int(section["class"])]), commit), section["commit key"])
        elif title == "records":
            check_records(bytes.fromhex(section["bytes"]))


def check_records(data):
    count, rest, keys = data[0], data[1:], []
    for _ in range(count):
        sub, rest = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
        rtype, ttl, length = struct.unpack("<HIH", rest[:8])
        rdata, rest = rest[8 : 8 + length], rest[8 + length :]
        assert 60 <= ttl <= 604_800 and len(sub) <= 63 and len(rdata) <= 512
        keys.append((sub, rtype, rdata))
    assert not rest and keys == sorted(set(keys)) and count <= 32


def locked():
    """The list as genesis commits to it, from the file that is compiled in."""
    path = HERE.parent.parent / "data/locked/locked.tsv"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest == "1c8f73f992675496cdcc0580c696701497992a2b41c0aa2a90fbaf81bc2eafd5", digest
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    assert len(lines) == 1000 and lines == sorted(lines)
    b8 = lambda text: bytes([len(text)]) + text.encode()
    return struct.pack("<H", len(lines)) + b"".join(b8(label) + b8(domain) for label, domain in lines)


# In the order of the canonical parameters (docs/protocol.md, appendix B): times, targets as powers of two, genesis
# time and prices of work, spans.
CONSTANTS = {
    "main": (
        (120, 20, 120, 7200, 7200, 2400, 1200), (244, 238, 168), (1_798_761_600, 2**24, 2**22),
        (4096, 3240, 12, 24, 720, 262800, 43200, 21600, 1440, 1440, 64800, 5040, 20160, 21600, 720, 21600, 2592000, 720, 180),
    ),
    "test": (
        (120, 20, 120, 7200, 7200, 2400, 1200), (246, 242, 168), (1_793_491_200, 2**15, 2**15),
        (256, 3240, 12, 24, 720, 262800, 43200, 21600, 1440, 1440, 64800, 5040, 20160, 21600, 720, 720, 86400, 720, 180),
    ),
    "local": (
        (2, 1, 10, 60, 60, 20, 10), (255, 240, 168), (1_793_491_200, 2**16, 2**16),
        (256, 3240, 3, 3, 120, 20000, 5000, 2000, 5, 10, 500, 5, 20, 600, 5, 30, 60, 120, 60),
    ),
}
LIMITS = (262_144, 2_048, 9_216, 2_560, 4, 1, 8_192, 4_096, 1_024, 256, 2**12, 2**14, 1_024, 64, 32_768)
ROOT_ANCHORS = (
    "683d2d0acb8c9b712a1948b27f741219298d0a450d612c483af444a4c0fb2b16",
    "e06d44b80b8f1d39a95c0b0d7c65d08458e880409bbc683457104237c7f8ec8d",
)


def canonical_params(network, algorithm):
    times, targets, (genesis_time, p_commit, p_op), spans = CONSTANTS[network]
    u32s = lambda values: struct.pack(f"<{len(values)}I", *values)
    anchors = () if network == "local" else ROOT_ANCHORS
    return b"".join((
        bytes([len(network)]), network.encode(), bytes([algorithm]), u32s(times),
        *((2**power).to_bytes(32, "big") for power in targets),
        struct.pack("<QQQ", genesis_time, p_commit, p_op), u32s(spans), u32s(LIMITS), struct.pack("<Q", 2**16),
        struct.pack("<H", len(RESERVED)), *(bytes([len(label)]) + label.encode() for label in RESERVED),
        locked(), struct.pack("<H", len(anchors)), *map(bytes.fromhex, anchors),
    ))


def networks():
    for title, section in load("networks"):
        params, core, ext = unhex(section, "params", "genesis core", "genesis ext")
        assert len(core) == 128 and len(ext) == 152
        same(title, h("params", params), core[88:120].hex())
        same(title, h("ext", ext), core[56:88].hex())
        version, height, time, vtime, bits = struct.unpack("<IIQII", core[:24])
        same(title, canonical_params(title, version >> 24), params.hex())
        algorithm, target = {"main": (1, 2**238), "test": (1, 2**242), "local": (0, 2**240)}[title]
        same(title, (version, height, vtime, bits), (algorithm << 24 | 1, 0, 0, to_compact(target)))
        assert time > 0 and core[24:56] == bytes(32) and core[120:] == bytes(8)
        assert ext == bytes(96) + h("mmr-root", bytes(4)) + struct.pack("<IIIIQ", 0, 0, 256, 4096 if title == "main" else 256, 0)
        same(title, h("hdr", core), section["genesis hash"])
        same(title, h("chain", core, ext), section["chain_id"])


# --- headers and transactions ----------------------------------------------------------------------------------


def argon2d(password, salt):
    try:
        from argon2.low_level import Type, hash_secret_raw
    except ImportError:
        return None
    return hash_secret_raw(password, salt, 1, 1024, 1, 32, Type.D, 0x13)


def headers():
    cores = []
    for title, section in load("headers"):
        if title == "batch":
            parts = bytes.fromhex(section["bytes"])
            (count,) = struct.unpack("<H", parts[:2])
            assert count == 2 and len(parts) == 2 + 32 + 2 * 216
            same("batch", parts[2:34], cores[0][24:56].hex())
            continue
        core, ext, wire, chain = unhex(section, "core", "ext", "wire", "chain_id")
        assert (len(core), len(ext), len(wire)) == (128, 152, 248)
        same(title, h("ext", ext), core[56:88].hex())
        same(title, core[:56] + core[88:] + ext, wire.hex())
        same(title, h("hdr", core), section["hash"])
        inner = h("pow-in", core)
        same(title, h("pow-out", inner), section["pow sha3"])
        filled = argon2d(inner, chain[:16])
        if filled is None:
            print("  (Argon2d not checked: pip install argon2-cffi)")
        else:
            same(title, h("pow-out", inner, filled), section["pow argon2d"])
        cores.append(core)


def needed_work(kind, body, bytes_price, commit_price, p=2**16, op=2**16):
    up = lambda a, b: -(-a // b)
    name = body[1 : 1 + body[0]]
    need = {1: 10, 2: 8, 3: 6, 4: 4, 5: 2, 6: 1, 7: 1}.get(len(name), 0)
    need = max(need, 2) if name.startswith(b"xn--") else need
    return {
        "COMMIT": lambda: up(p * 2 ** body[0] * commit_price, 256),
        "REVEAL": lambda: 0,
        "UPDATE": lambda: up(op * up(len(body), 256) * bytes_price, 256 * 256),
        "TRANSFER": lambda: up(op * bytes_price, 128 * 256),
        "CANCEL": lambda: op // 1024,
        "RENEW": lambda: up(p * 2**need * min(commit_price, 1024), 256),
        "REVOKE": lambda: op // 1024,
        "CLAIM": lambda: up(op * bytes_price, 16 * 256),
        "ROLL": lambda: up(op * bytes_price, 16 * 256),
    }[kind]()


def transactions():
    everything = b""
    for title, section in load("transactions"):
        if title == "block":
            block = bytes.fromhex(section["bytes"])
            same("block", block[248:], (struct.pack("<H", 12) + everything).hex())
            continue
        kind = title.split(" ")[1]
        chain, anchor, data, body = unhex(section, "chain_id", "anchor_hash", "bytes", "body")
        everything += data
        assert data[0] == 1 and TYPES[data[1]] == kind and data[6:14] == anchor[:8]
        same(title, data[14 : 16 + len(body)], (struct.pack("<H", len(body)) + body).hex())
        if kind == "REVEAL":
            assert data[2:6] == bytes(4), "anchored at genesis"
            same(title, anchor, dict(load("networks"))["local"]["genesis hash"])
        if kind == "RENEW":
            assert len(body) == 1 + body[0] + 4, "no sequence number"
        rest = data[16 + len(body) :]
        txid = h("txid", data[:6] + data[14 : 16 + len(body)])
        commit = h("share", chain, anchor, txid)
        digest = h("sig", chain, anchor, txid)
        same(title, txid, section["txid"])
        same(title, h("wtx", data), section["wtxid"])
        same(title, commit, section["share_commit"])
        same(title, digest, section["sighash"])
        same(title, needed_work(kind, body, 300, 700), section["work at 300 and 700"])
        if kind != "REVEAL":
            share, rest = rest[:96], rest[96:]
            core = share[:88] + commit + share[88:]
            value = int.from_bytes(h("pow-out", h("pow-in", core)), "big")
            assert value <= MAX // 2 and struct.unpack("<I", core[:4])[0] == 1
        if kind not in ("COMMIT", "RENEW", "ROLL"):
            check_witness(rest, digest)
        else:
            assert rest == b""


def work():
    """Required work on main, where P_COMMIT and P_OP differ."""
    ((_, section),) = load("work")
    for key, needed in section.items():
        kind, body, bytes_price, commit_price = key.split(" ")
        same(key, needed_work(kind, bytes.fromhex(body), int(bytes_price), int(commit_price), 2**24, 2**22), needed)


# --- state and history -----------------------------------------------------------------------------------------


def bit(key, depth):
    return key[depth // 8] >> (7 - depth % 8) & 1


def tree(leaves, depth=0):
    if not leaves:
        return bytes(32)
    if len(leaves) == 1:
        return h("leaf", *leaves[0])
    halves = [[leaf for leaf in leaves if bit(leaf[0], depth) == side] for side in (0, 1)]
    return h("node", tree(halves[0], depth + 1), tree(halves[1], depth + 1))


def check_proof(proof, key, root):
    (depth,) = struct.unpack("<H", proof[:2])
    width = -(-depth // 8)
    bitmap, rest = proof[2 : 2 + width], proof[2 + width :]
    siblings = [bytes(32)] * depth
    for d in reversed(range(depth)):
        if bitmap[d // 8] >> (7 - d % 8) & 1:
            siblings[d], rest = rest[:32], rest[32:]
    kind, rest = rest[0], rest[1:]
    if kind == 0:
        assert rest == b""
        node = bytes(32)
    elif kind == 1:
        other, value = rest[:32], rest[32:]
        assert len(value) == 32 and other != key and all(bit(other, d) == bit(key, d) for d in range(depth))
        node = h("leaf", other, value)
    else:
        (length,) = struct.unpack("<H", rest[:2])
        assert len(rest) == 2 + length
        node = h("leaf", key, h("val", rest[2:]))
    for d in reversed(range(depth)):
        node = h("node", siblings[d], node) if bit(key, d) else h("node", node, siblings[d])
    same("proof", node, root.hex())
    return kind


def name_entry(name, flags=0, pending=b"\x00", claim=b"\x00", records=None):
    """The bytes of a name's entry whose fields are those of state.rs."""
    records = b"\x01\x00" + struct.pack("<HIH", 16, 3600, 6) + b"\x05hello" if records is None else records
    return b"".join((
        b"\x01", bytes([len(name)]), name.encode(), bytes([flags]), struct.pack("<Q", 0x0102030405060708),
        struct.pack("<I", 0x11121314), b"\x15" * 16,
        struct.pack("<5I", 0x21222324, 0x31323334, 0x41424344, 0x51525354, 0x61626364), b"\x71" * 32, b"\x72" * 32,
        pending, claim, struct.pack("<H", len(records)), records,
    ))


def pending_of(kind):
    return bytes([kind]) + b"\x81" * 32 + bytes(32) + struct.pack("<I", 0x82838485)


CLAIM = b"\x01" + struct.pack("<II", 0xA1A2A3A4, 0xB1B2B3B4)
ENTRIES = {
    "name": name_entry("alice"),
    "name with a transfer": name_entry("moving", pending=pending_of(1)),
    "name with a claim": name_entry("claimed", 6, claim=CLAIM, records=b"\x00"),
    "name with a takeover": name_entry("taken", 2, pending_of(2), CLAIM),
    "name with everything": name_entry("everything", 15, pending_of(3), CLAIM),
    "commit": b"\x02\x04" + b"\xc1" * 32 + struct.pack("<I", 0xD1D2D3D4) + b"\x00",
    "spent commit": b"\x02\x0a" + b"\xc1" * 32 + struct.pack("<I", 0xD1D2D3D4) + b"\x01",
}


def state():
    leaves = []
    for title, section in load("state"):
        if title == "proofs":
            root = bytes.fromhex(section.pop("root"))
            kinds = {check_proof(bytes.fromhex(p), bytes.fromhex(k[3:]), root) for k, p in section.items()}
            assert kinds == {0, 1, 2}, f"one proof of each kind is wanted, not {kinds}"
        elif title == "undo":
            data = bytes.fromhex(section["bytes"])
            assert data[:4] == struct.pack("<I", 2) and data[-1] == 0 and data[36] == 1
        else:
            (data,) = unhex(section, "bytes")
            same(title, ENTRIES[title], data.hex())
            if data[0] == 1:
                key = h("key", b"\x01", data[2 : 2 + data[1]])
            else:
                assert data[0] == 2 and len(data) == 39
                key = h("key", data[:34])
            value = h("val", data)
            same(title, key, section["key"])
            same(title, value, section["val"])
            same(title, h("leaf", key, value), section["leaf"])
            leaves.append((key, value))
            same(title, tree(leaves), section["root with those above"])


def history():
    def parent(left, right):
        pack = lambda node: node[0] + node[1].to_bytes(16, "little")
        return h("mmr-node", pack(left), pack(right)), left[1] + right[1]

    def perfect(nodes):
        while len(nodes) > 1:
            nodes = [parent(nodes[i], nodes[i + 1]) for i in range(0, len(nodes), 2)]
        return nodes[0]

    leaves = [
        (h("mmr-leaf", bytes([n]) * 32, struct.pack("<IQII", n, 1000 + n, 120 * n, 0x1E400000 + n)), 1 << (20 + n))
        for n in range(9)
    ]
    ((_, section),) = load("history")
    same("peaks", struct.pack("<I", 9) + b"".join(n[0] + n[1].to_bytes(16, "little") for n in (perfect(leaves[:8]), leaves[8])), section.pop("peaks of 9"))
    for key, root in section.items():
        count = int(key.split(" ")[1])
        peaks, start = [], 0
        for level in reversed(range(32)):
            if count >> level & 1:
                peaks.append(perfect(leaves[start : start + 2**level]))
                start += 2**level
        if not peaks:
            same(key, h("mmr-root", bytes(4)), root)
            continue
        acc = peaks.pop()
        while peaks:
            acc = parent(peaks.pop(), acc)
        same(key, h("mmr-root", struct.pack("<I", count), acc[0], acc[1].to_bytes(16, "little")), root)


# --- tables ----------------------------------------------------------------------------------------------------


def to_compact(target):
    size = (target.bit_length() + 7) // 8
    mantissa = target << 8 * (3 - size) if size <= 3 else target >> 8 * (size - 3)
    if mantissa & 0x800000:
        mantissa, size = mantissa >> 8, size + 1
    return size << 24 | mantissa


def expand(bits):
    """The target, or None for forms that are not canonical."""
    size, mantissa = bits >> 24, bits & 0x7FFFFF
    target = mantissa >> 8 * (3 - size) if size <= 3 else mantissa << 8 * (size - 3)
    return target if 0 < target <= MAX and to_compact(target) == bits else None


def compact():
    (_, table), (_, others) = load("compact")
    for target, line in table.items():
        bits, effective, work = line.split(" ")
        same(target, f"{to_compact(int(target, 16)):08x}", bits)
        same(target, f"{expand(int(bits, 16)):064x}", effective)
        # Targets below MIN_TARGET never occur; their work would not fit 128 bits and is cut off there.
        same(target, min(2**256 // (int(effective, 16) + 1), 2**128 - 1), work)
    for bits, text in others.items():
        target = expand(int(bits, 16))
        same(bits, "none" if target is None else f"{target:064x}", text)


def two_to_the(x):
    """2^x as a fraction, right to more than 100 bits: 2^whole · e^(part · ln 2), both by their series."""
    whole = x.numerator // x.denominator
    part, scale = x - whole, 2**160
    ln2 = sum(Fraction(1, n * 2**n) for n in range(1, 150))
    y, term, total = Fraction(int(part * ln2 * scale), scale), Fraction(1), Fraction(0)
    for n in range(1, 60):
        total += term
        term = Fraction(int(term * y / n * scale), scale)
    return total * (Fraction(2) ** whole)


PARAMS = {
    "main": dict(T=120, TAU=7200, CLIP=7200, START=2400, STEP=1200, LIMIT=2**244, GENESIS=2**238),
    "test": dict(T=120, TAU=7200, CLIP=7200, START=2400, STEP=1200, LIMIT=2**246, GENESIS=2**242),
    "local": dict(T=2, TAU=60, CLIP=60, START=20, STEP=10, LIMIT=2**255, GENESIS=2**240),
}


def clamp(value, low, high):
    return max(low, min(high, value))


def difficulty():
    worst = 0
    for title, section in load("difficulty"):
        p = PARAMS[title]
        for key, line in section.items():
            height, vtime, gap = map(int, key.split(" "))
            bits, next_vtime = line.split(" ")
            same(key, 0 if height == 0 else min(vtime + min(gap, p["CLIP"]), 2**32 - 1), next_vtime)
            if height == 0:
                same(key, f"{to_compact(p['GENESIS']):08x}", bits)
                continue
            off = (vtime - p["T"] * (height - 1)) * 65536
            e = abs(off) // p["TAU"] * (1 if off >= 0 else -1)
            shifts, f = e >> 16, e & 0xFFFF
            factor = 65536 + (195766423245049 * f + 971821376 * f**2 + 5127 * f**3 + 2**47 >> 48)
            assert 195766423245049 * f + 971821376 * f**2 + 5127 * f**3 + 2**47 < 2**64
            scaled = p["GENESIS"] * factor
            target = scaled << shifts - 16 if shifts >= 16 else scaled >> 16 - shifts
            target = clamp(target, 2**168, p["LIMIT"])
            if 2**168 < target < p["LIMIT"]:
                exact = p["GENESIS"] * two_to_the(Fraction(off, 65536 * p["TAU"]))
                worst = max(worst, abs(float(Fraction(target) / exact - 1)))
            if gap > p["START"]:
                target = min(target << min(64, (gap - p["START"]) // p["STEP"] + 1), p["LIMIT"])
            same(key, f"{to_compact(target):08x}", bits)
    assert worst < 2e-4, worst
    return f"ASERT is within {worst:.1e} of the exact power of two"


def prices():

    def adjusted(price, used, target):
        if used > target:
            return price + max(1, price * min(used - target, target) // target // 64)
        return price - max(1, price * (target - used) // target // 64) if used < target else price

    def launch_floor(launch_price, height):
        k, r = divmod(height, 3240)
        f = launch_price >> min(k, 31)
        return max(256, f - f * r // 6480)

    rows = [(title, *row) for title, section in load("prices") for row in section.items()]
    for title, key, line in rows:
        height, price_bytes, price_commit, weight, commits, names = map(int, key.split(" "))
        floor = launch_floor(4096 if title == "main" else 256, min(height + 1, 2**32 - 1))
        bytes_next = clamp(adjusted(price_bytes, weight, 32768), 256, 2**12)
        commit_next = clamp(adjusted(price_commit, commits, max(4, names >> 18)), floor, 2**14)
        same(key, f"{bytes_next} {commit_next}", line)


def main():
    for check in (identity, networks, headers, transactions, work, state, history, compact, difficulty, prices):
        note = check()
        print(f"{check.__name__}: right" + (f"; {note}" if note else ""))


if __name__ == "__main__":
    main()
