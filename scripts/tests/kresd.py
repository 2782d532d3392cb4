#!/usr/bin/env python3
"""Knot Resolver, given the node's trust anchor, validates what the node signs about present and absent names, wildcards,
aliases and delegations, and refuses an answer in which one bit was changed on the way. Needs Debian's knot-resolver."""

import contextlib
import os
import shutil
import subprocess

from common import Net, main, no_panics, parser, require, until, workspace
from dnssec import NO_NAME, NO_TYPE, PRESENT, SIGNED, Tamperer, ask, export, verdict
from harness.net import free_base_port
from harness.wallet import Wallet

CONF = """\
net.listen('127.0.0.1', {port}, {{ kind = 'dns' }})
cache.size = 10 * MB
modules = {{ 'policy', 'stats' }}
modules.unload('ta_update')
modules.unload('ta_signal_query')
modules.unload('priming')
modules.unload('detect_time_skew')
-- So that every question reaches the node, and what is checked is what it says now.
policy.add(policy.all(policy.FLAGS({{'NO_CACHE'}})))
policy.add(policy.suffix(policy.FORWARD({{'127.0.0.1@{upstream}'}}), policy.todnames({{'p2p.', 'p2p.alt.'}})))
"""


@contextlib.contextmanager
def kresd(directory, anchor, upstream):
    """A validating Knot Resolver in front of a port; the port it listens on."""
    directory.mkdir()
    port = free_base_port(1) + 6
    conf = directory / "kresd.conf"
    conf.write_text(CONF.format(port=port, upstream=upstream) + anchor.read_text())
    with open(directory / "log", "w") as log:
        process = subprocess.Popen(["kresd", "-n", "-c", str(conf), str(directory)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        until(lambda: "status:" in ask(port, "localhost", "A"), 15, "have kresd answer")
        yield port
    finally:
        process.terminate()
        process.wait(10)


def run(args):
    os.environ["PATH"] += ":/usr/sbin"
    require(shutil.which("kresd"), "kresd is not installed; try: scripts/conformance validators")
    with workspace(args, "kresd") as directory, Net.plan(1, directory) as net:
        net.up()
        node = net[1]
        operation = Wallet(directory / "wallet", node).create().register("signed", SIGNED, wait=True)
        require(operation["state"] == "done", f"registration ended as {operation['state']}: {operation.get('error')}")
        until(lambda: node.dig("signed.p2p"), 10, "see the name in DNS")
        anchor, port = export(node, "knot", directory), node.dns.rsplit(":", 1)[1]
        with kresd(directory / "kresd", anchor, port) as resolver:
            for name, rtype, word in PRESENT:
                seen = ask(resolver, name, rtype)
                require(verdict(seen) == ("NOERROR", True) and word.lower() in seen.lower(), f"kresd {name} {rtype}: {seen}")
            for name, rtype in [*NO_TYPE, *NO_NAME]:
                seen = ask(resolver, name, rtype)
                require(verdict(seen)[0] in ("NOERROR", "NXDOMAIN") and verdict(seen)[1], f"kresd {name} {rtype}: {seen}")
        changed = 0
        with Tamperer(node.dns) as relay, kresd(directory / "tampered", anchor, relay.port) as resolver:
            for name, rtype, needle in [("signed.p2p", "A", bytes([192, 0, 2, 7])), ("signed.p2p", "TXT", b"Signed while answering")]:
                relay.needle, relay.changed = None, 0
                require(verdict(ask(resolver, name, rtype))[1], f"kresd refuses {name} {rtype} through an honest relay")
                relay.needle = needle
                seen = ask(resolver, name, rtype)
                require(relay.changed > 0, f"the relay found nothing to change in {name} {rtype}")
                require(verdict(seen) == ("SERVFAIL", False), f"kresd believes a changed {name} {rtype}: {seen}")
                changed += 1
        no_panics(net)
        return f"{len(PRESENT)} present, {len(NO_TYPE) + len(NO_NAME)} absent, {changed} changed and refused"


if __name__ == "__main__":
    main(run, parser(__doc__).parse_args())
