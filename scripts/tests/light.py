#!/usr/bin/env python3
"""Light lookups: proofs of presence and of absence, saved to files, verified with no node running, every byte flipped.

A proof that was changed in any byte, cut, or lengthened must be refused with exit code 9. A file's checksum is there for
accidents only and anybody can make it anew, so most copies get a right one: there the headers and the proof must refuse.
Each copy is checked against the last header of the file, as a user does who knows a block: the work of a header on the
`local` network is so little that a changed last header may meet it by chance.
"""

import concurrent.futures
import json
import random

from common import Net, main, no_panics, parser, require, until, workspace
from harness.protocol import tagged
from harness.wallet import Wallet

BAD_PROOF = 9
NOT_FOUND = 3
CHECKSUM_BYTES = 32
BROKEN_CHECKSUMS = 50  # copies of each kind whose checksum stays wrong


def with_checksum(content):
    return content + tagged("gid", content)


def flipped(data, index, rng):
    changed = bytearray(data)
    changed[index] ^= 1 << rng.randrange(8)
    return bytes(changed)


def spoiled(proof, rng):
    """(what was done, bytes): each byte of the content with one random bit flipped, some cuts, some additions, all with
    a checksum that is right; and some of each with one that is not."""
    content = proof[:-CHECKSUM_BYTES]
    for index in range(len(content)):
        yield f"byte {index} flipped", with_checksum(flipped(content, index, rng))
    for length in {0, 1, len(content) // 2, len(content) - 1} | {rng.randrange(len(content)) for _ in range(50)}:
        yield f"content cut to {length} bytes", with_checksum(content[:length])
    yield "content one byte longer", with_checksum(content + b"\0")
    yield "content doubled", with_checksum(content + content)
    for index in {len(proof) - CHECKSUM_BYTES, len(proof) - 1} | {rng.randrange(len(proof)) for _ in range(BROKEN_CHECKSUMS)}:
        yield f"byte {index} flipped, checksum left", flipped(proof, index, rng)
    for length in {0, 1, len(proof) - 1} | {rng.randrange(len(proof)) for _ in range(BROKEN_CHECKSUMS)}:
        yield f"cut to {length} bytes, checksum left", proof[:length]
    yield "one byte longer, checksum left", proof + b"\0"
    yield "doubled, checksum left", proof + proof


def is_true(said, proof):
    """Whether a copy that was not refused says no more than a proof may: that a name which differs from the one asked
    about in one bit, and which nobody has, is absent. Paths through the tree are shared, so some proofs show that too."""
    return not said["present"] and said["name"] != proof.name


class Proof:
    """A proof file, what it is about, and the block that it is checked against."""

    def __init__(self, wallet, net, name, path):
        self.name, self.path = name, path
        peers = [word for node in net.nodes for word in ("--peer", node.p2p)]
        run = wallet.run("lookup", name, "--light", *peers, "--proof", str(path))
        require(run.returncode in (0, NOT_FOUND) and path.exists(), f"lookup {name} --light: exit {run.returncode}: {run.stdout}{run.stderr}")
        self.said, self.content = run.stdout, path.read_bytes()
        proven = wallet.json("verify", str(path))
        tip = proven["height"] + proven["confirmations"]
        self.checkpoint = f"{tip}:{net[1].api().get(f'/v1/blocks/{tip}')['hash']}"

    def refuses(self, wallet, number, what, content):
        """None, or what is wrong with the judgement of a spoiled copy."""
        path = self.path.with_name(f"{self.path.name}-{number}")
        path.write_bytes(content)
        run = wallet.run("--json", "verify", str(path), "--checkpoint", self.checkpoint)
        path.unlink()
        if run.returncode == BAD_PROOF or (run.returncode == 0 and is_true(json.loads(run.stdout), self)):
            return None
        return f"{what}: exit code {run.returncode}: {run.stdout}{run.stderr}"

    def refuses_all(self, wallet, rng):
        """How many spoiled copies were judged rightly; raises at the first that was not."""
        count = 0
        with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
            copies = enumerate(spoiled(self.content, rng))
            tasks = [pool.submit(self.refuses, wallet, n, what, content) for n, (what, content) in copies]
            for task in concurrent.futures.as_completed(tasks):
                complaint = task.result()
                require(complaint is None, f"a spoiled proof was not refused: {complaint}")
                count += 1
        return count


def verifies_offline(wallet, proof):
    height, hash_ = proof.checkpoint.split(":")
    verified = wallet.run("verify", str(proof.path), "--checkpoint", proof.checkpoint)
    require(verified.returncode == 0, f"verify {proof.path.name}: {verified.stdout}{verified.stderr}")
    misplaced = wallet.run("verify", str(proof.path), "--checkpoint", f"{int(height) - 1}:{hash_}")
    require(misplaced.returncode == BAD_PROOF, f"a block at a wrong height was believed: {misplaced.stdout}")


def run(args):
    rng = random.Random(args.seed)
    with workspace(args, "light") as directory, Net.plan(2, directory) as net:
        net.up()
        wallet = Wallet(directory / "wallet", net[1]).create()
        registered = wallet.register("hello", "@ 300 IN A 192.0.2.7\n", wait=True)
        until(lambda: net[1].api().status()["height"] > registered["active_from"], 60, "see the name settle")
        present = Proof(wallet, net, "hello", directory / "present.proof")
        require("192.0.2.7" in present.said, f"the light lookup does not show the record: {present.said}")
        absent = Proof(wallet, net, "nobody-has-this", directory / "absent.proof")
        no_panics(net)
        net.down()
        for proof in (present, absent):
            verifies_offline(wallet, proof)
        count = sum(proof.refuses_all(wallet, rng) for proof in (present, absent))
        sizes = f"{len(present.content)} and {len(absent.content)} bytes"
        return f"proofs of {sizes} verified offline; {count} spoiled copies refused (seed {args.seed})"


arguments = parser(__doc__)
arguments.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="repeats a run")
main(run, arguments.parse_args())
