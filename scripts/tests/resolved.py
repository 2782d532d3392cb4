#!/usr/bin/env python3
"""systemd-resolved, told only a node's trust anchors, validates what the node signs about present and absent names,
wildcards, aliases and delegations, and refuses an answer in which one bit was changed on the way.

It runs in a network namespace and sees files of its own, so that this machine's settings stay as they are. Needs root,
and systemd-resolved: Debian's package, or what `scripts/conformance validators` has unpacked, named by --unpacked.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess

from common import Failed, Net, main, no_panics, parser, require, until, workspace
from dnssec import CROSSING, NO_NAME, NO_TYPE, PRESENT, SIGNED, Tamperer, export, verdict
from harness.wallet import Wallet
from others import running

# The two ends of the way between resolved and the rest, out of the network for benchmarks (RFC 2544).
OURS, THEIRS = "198.18.77.1", "198.18.77.2"
USER = "systemd-resolve"
CONF = """\
[Resolve]
DNS={server}:{port}
FallbackDNS=
Domains=~.
DNSSEC=yes
# It would not ask for the addresses of a top-level domain.
ResolveUnicastSingleLabel=yes
# So that every question reaches the node, and what is checked is what it says now.
Cache=no
LLMNR=no
MulticastDNS=no
"""
# What only resolved sees: its settings, its user, an empty /run.
START = """\
set -e
mount -t tmpfs none /run
mount --bind {directory}/systemd /etc/systemd
mount --bind {directory}/passwd /etc/passwd
mount --bind {directory}/group /etc/group
mkdir -p /run/dnssec-trust-anchors.d /run/systemd/resolve
cp {anchor} /run/dnssec-trust-anchors.d/node.positive
chown {user}:{user} /run/systemd/resolve
exec {program}
"""


def files(directory, anchor, port, program):
    (directory / "systemd").mkdir(parents=True)
    (directory / "systemd" / "resolved.conf").write_text(CONF.format(server=OURS, port=port))
    for name, line in (("passwd", f"{USER}:x:899:899::/:/usr/sbin/nologin\n"), ("group", f"{USER}:x:899:\n")):
        text = pathlib.Path("/etc", name).read_text()
        (directory / name).write_text(text if f"\n{USER}:" in text else text.rstrip("\n") + "\n" + line)
    script = directory / "start"
    script.write_text(START.format(directory=directory, anchor=anchor, user=USER, program=program))
    return script


@contextlib.contextmanager
def namespace():
    """A network of its own with one way out, which ends here."""
    name = f"rsv{os.getpid()}"
    ip = lambda *words: subprocess.run(["ip", *words], check=True, capture_output=True)
    ip("netns", "add", name)
    try:
        ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("addr", "add", OURS + "/30", "dev", name)
        ip("-n", name, "addr", "add", THEIRS + "/30", "dev", "eth0")
        ip("link", "set", name, "up")
        ip("-n", name, "link", "set", "eth0", "up")
        # Without a default route resolved thinks that there is no network.
        ip("-n", name, "route", "add", "default", "via", OURS)
        yield name
    finally:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def asker(inside):
    def ask(name, rtype):
        command = ["ip", "netns", "exec", inside, "dig", "@127.0.0.53", "+dnssec", "+time=5", "+tries=2", name, rtype]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    return ask


def check(ask):
    for name, rtype, word in [*PRESENT, CROSSING]:
        seen = ask(name, rtype)
        require(verdict(seen) == ("NOERROR", True) and word.lower() in seen.lower(), f"resolved {name} {rtype}: {seen}")
    for name, rtype in [*NO_TYPE, *NO_NAME]:
        seen = ask(name, rtype)
        require(verdict(seen)[0] in ("NOERROR", "NXDOMAIN") and verdict(seen)[1], f"resolved {name} {rtype}: {seen}")


def check_tampering(ask, relay):
    cases = [("signed.p2p", "A", bytes([192, 0, 2, 7])), ("signed.p2p", "TXT", b"Signed while answering")]
    for name, rtype, needle in cases:
        relay.needle, relay.changed = needle, 0
        seen = ask(name, rtype)
        require(relay.changed > 0, f"the relay found nothing to change in {name} {rtype}")
        require(verdict(seen) == ("SERVFAIL", False), f"resolved believes a changed {name} {rtype}: {seen}")
    return len(cases)


def run(args):
    if os.geteuid() != 0:
        raise Failed("network namespaces need root")
    root = args.unpacked or pathlib.Path("/")
    program = root / "lib/systemd/systemd-resolved"
    require(program.exists(), f"{program} is not there; try: scripts/conformance validators")
    for tool in ("dig", "ip", "unshare"):
        require(shutil.which(tool), f"{tool} is not installed; try: scripts/setup --test")
    with workspace(args, "resolved") as directory, Net.plan(1, directory) as net:
        net.up()
        node = net[1]
        operation = Wallet(directory / "wallet", node).create().register("signed", SIGNED, wait=True)
        require(operation["state"] == "done", f"registration ended as {operation['state']}: {operation.get('error')}")
        until(lambda: node.dig("signed.p2p"), 10, "see the name in DNS")
        anchor = export(node, "systemd", directory)
        with namespace() as inside, Tamperer(node.dns, OURS) as relay:
            libraries = ":".join(str(path) for path in root.glob("usr/lib/*/systemd")) if args.unpacked else ""
            script = files(directory / "resolved", anchor, relay.port, program)
            command = ["ip", "netns", "exec", inside, "unshare", "-m", "env", f"LD_LIBRARY_PATH={libraries}",
                       "SYSTEMD_LOG_TARGET=console", "bash", script]
            ask = asker(inside)
            with running(command, directory / "resolved.out", lambda: verdict(ask("ns.nic.p2p", "A"))[0] == "NOERROR"):
                check(ask)
                changed = check_tampering(ask, relay)
        no_panics(net)
        return f"{len(PRESENT) + 1} present, {len(NO_TYPE) + len(NO_NAME)} absent, {changed} changed and refused"


if __name__ == "__main__":
    arguments = parser(__doc__)
    arguments.add_argument("--unpacked", type=pathlib.Path, help="a directory with systemd-resolved's packages (default: what is installed)")
    main(run, arguments.parse_args())
