"""The few protocol rules that the tests judge by, written again from docs/protocol.md and not asked of a node."""

import hashlib


def tagged(tag, *parts):
    """H(tag, m): the tag fills exactly one rate block of SHA3-256."""
    prefix = hashlib.sha3_256(b"namestead/1/" + tag.encode()).digest()
    return hashlib.sha3_256(prefix + prefix + bytes(72) + b"".join(parts)).digest()


def commit_of(transaction):
    """(class, commit hash) in the bytes of a COMMIT."""
    kind, body_length = transaction[1], int.from_bytes(transaction[14:16], "little")
    body = transaction[16 : 16 + body_length]
    if kind != 1 or len(body) != 33:
        raise ValueError(f"not a COMMIT: type {kind}, body of {len(body)} bytes")
    return body[0], body[1:]


def precedence(height, commit_hash, block_hash):
    """What the earlier commit has less of: its height, then a tie that nobody can choose in advance."""
    return height, tagged("tie", commit_hash, block_hash)[:16]
