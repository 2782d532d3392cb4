#!/usr/bin/env python3
"""Two users register the same name at once through two different nodes, many names in a row.

Each time exactly one of them must end up with the name, the same one on every node, and it must be the one whose commit
was earlier: a lower block, or within one block the lower tie. Ranks are computed here from the commit transactions.
"""

import threading

from common import Failed, Net, main, no_panics, parser, require, until, workspace
from harness.protocol import commit_of, precedence
from harness.wallet import Wallet

FINAL = ("done", "failed", "cancelled")


def register_at_once(wallets, name):
    """Both users' operations."""
    barrier, operations = threading.Barrier(len(wallets)), [None] * len(wallets)

    def one(index):
        barrier.wait()
        try:
            operations[index] = wallets[index].register(name)
        except Exception as problem:  # carried to the main thread, which fails the test with it
            operations[index] = problem

    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(wallets))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for operation in operations:
        if isinstance(operation, Exception):
            raise Failed(f"{name}: {operation}")
    return operations


def rank(node, operation):
    """The precedence of an operation's commit, or None if the commit never reached the chain."""
    if operation.get("commit_height") is None:
        return None
    txid = next(t["txid"] for t in operation["txids"] if t["role"] == "commit")
    _, commit_hash = commit_of(bytes.fromhex(node.api().get(f"/v1/transactions/{txid}")["hex"]))
    height = operation["commit_height"]
    return precedence(height, commit_hash, bytes.fromhex(node.api().get(f"/v1/blocks/{height}")["hash"]))


def judge(net, wallets, name, ids):
    """Whether the tie decided. Raises unless one owner, the same everywhere, and the earlier commit."""
    finished = [wallet.node.api().get(f"/v1/operations/{id}") for wallet, id in zip(wallets, ids)]
    states = [operation["state"] for operation in finished]
    require(states.count("done") == 1, f"{name}: operations ended as {states}")
    ranks = [rank(wallet.node, operation) for wallet, operation in zip(wallets, finished)]
    winner = states.index("done")
    best = min((r, i) for i, r in enumerate(ranks) if r is not None)[1]
    require(best == winner, f"{name}: user {winner + 1} owns it, but user {best + 1} committed earlier: {ranks}")
    views = [node.api().get(f"/v1/names/{name}") for node in net.nodes]
    require(len({v["state"]["owner"] for v in views}) == 1, f"{name}: owners differ between nodes")
    require(views[0]["state"]["commit_height"] == ranks[winner][0], f"{name}: the state names another commit")
    owned = {item["name"] for item in wallets[winner].node.api().get(f"/v1/names?owner={views[0]['state']['owner']}")["names"]}
    require(name in owned, f"{name}: missing in the owner index")
    return None not in ranks and ranks[0][0] == ranks[1][0]


def all_final(wallets, started):
    for wallet, column in zip(wallets, zip(*started.values())):
        states = {o["id"]: o["state"] for o in wallet.node.api().get("/v1/operations")["operations"]}
        if any(states.get(id) not in FINAL for id in column):
            return False
    return True


def run(args):
    with workspace(args, "same-name") as directory, Net.plan(3, directory) as net:
        net.up()
        wallets = [Wallet(directory / f"user{i}", net[i]).create() for i in (1, 2)]
        ties, names = 0, [f"race-{i:03}" for i in range(args.count)]
        for first in range(0, len(names), args.overlap):
            batch = names[first : first + args.overlap]
            started = {name: [o["id"] for o in register_at_once(wallets, name)] for name in batch}
            until(lambda: all_final(wallets, started), 180, "see all registrations end")
            height = max(node.api().status()["height"] for node in net.nodes)
            until(lambda: all(n.api().status()["height"] >= height for n in net.nodes), 20, "see all nodes catch up")
            ties += sum(judge(net, wallets, name, ids) for name, ids in started.items())
            print(f"  {first + len(batch)} of {len(names)} names judged", flush=True)
        no_panics(net)
        return f"{len(names)} names, each with one owner, the earlier commit; {ties} decided by the tie within one block"


arguments = parser(__doc__)
arguments.add_argument("--count", type=int, default=100, help="how many names (default %(default)s)")
arguments.add_argument("--overlap", type=int, default=10, help="how many names are under way at once (default %(default)s)")
main(run, arguments.parse_args())
