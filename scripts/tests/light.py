#!/usr/bin/env python3
"""Light lookups: proofs of presence and of absence, saved to files, verified with no node running, every byte flipped.

A proof that was changed in any byte, cut, or lengthened must be refused with exit code 9.
"""

import concurrent.futures
import random

from common import Net, main, no_panics, parser, require, until, workspace
from harness.wallet import Wallet

BAD_PROOF = 9
NOT_FOUND = 3


def spoiled(proof, rng):
    """(what was done, bytes): each byte with one random bit flipped, some cuts, some additions."""
    for index in range(len(proof)):
        changed = bytearray(proof)
        changed[index] ^= 1 << rng.randrange(8)
        yield f"byte {index} flipped", bytes(changed)
    for length in {0, 1, len(proof) // 2, len(proof) - 1} | {rng.randrange(len(proof)) for _ in range(50)}:
        yield f"cut to {length} bytes", proof[:length]
    yield "one byte longer", proof + b"\0"
    yield "doubled", proof + proof


def refused(wallet, directory, number, what, content):
    path = directory / f"spoiled-{number}"
    path.write_bytes(content)
    run = wallet.run("verify", str(path))
    path.unlink()
    return None if run.returncode == BAD_PROOF else f"{what}: exit code {run.returncode}: {run.stdout}{run.stderr}"


def spoil_all(wallet, directory, proof, rng):
    """How many spoiled copies were refused; raises at the first that was not."""
    count = 0
    with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
        tasks = [pool.submit(refused, wallet, directory, n, what, c) for n, (what, c) in enumerate(spoiled(proof, rng))]
        for task in concurrent.futures.as_completed(tasks):
            complaint = task.result()
            require(complaint is None, f"a spoiled proof was not refused: {complaint}")
            count += 1
    return count


def fetch(wallet, net, name, path, codes):
    peers = [word for node in net.nodes for word in ("--peer", node.p2p)]
    run = wallet.run("lookup", name, "--light", *peers, "--proof", str(path))
    require(run.returncode in codes and path.exists(), f"lookup {name} --light: exit {run.returncode}: {run.stdout}{run.stderr}")
    return run.stdout


def run(args):
    rng = random.Random(args.seed)
    with workspace(args, "light") as directory, Net.plan(2, directory) as net:
        net.up()
        wallet = Wallet(directory / "wallet", net[1]).create()
        registered = wallet.register("hello", "@ 300 IN A 192.0.2.7\n", wait=True)
        until(lambda: net[1].api().status()["height"] > registered["active_from"], 60, "see the name settle")
        present, absent = directory / "present.proof", directory / "absent.proof"
        said = fetch(wallet, net, "hello", present, {0})
        require("192.0.2.7" in said, f"the light lookup does not show the record: {said}")
        fetch(wallet, net, "nobody-has-this", absent, {0, NOT_FOUND})
        no_panics(net)
        net.down()
        for path in (present, absent):
            verified = wallet.run("verify", str(path))
            require(verified.returncode in (0, NOT_FOUND), f"verify {path.name}: {verified.stdout}{verified.stderr}")
        sizes = [len(path.read_bytes()) for path in (present, absent)]
        count = sum(spoil_all(wallet, directory, path.read_bytes(), rng) for path in (present, absent))
        return f"proofs of {sizes[0]} and {sizes[1]} bytes verified offline; {count} spoiled copies refused (seed {args.seed})"


arguments = parser(__doc__)
arguments.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="repeats a run")
main(run, arguments.parse_args())
