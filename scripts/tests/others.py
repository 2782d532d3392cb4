"""Servers that others wrote, for the tests: how NSD and unbound are configured, and how long they run."""

import contextlib
import subprocess

from common import until

NSD = """\
server:
    username: ""
    chroot: ""
    zonesdir: "{directory}"
    database: ""
    pidfile: "{directory}/nsd.pid"
    xfrdfile: "{directory}/xfrd.state"
    zonelistfile: "{directory}/zone.list"
    xfrdir: "{directory}"
    logfile: "{directory}/nsd.log"
    rrl-ratelimit: 0
    rrl-whitelist-ratelimit: 0
{options}
remote-control:
    control-enable: no
{zones}
"""
UNBOUND = """\
server:
    directory: "{directory}"
    chroot: ""
    username: ""
    pidfile: ""
    use-syslog: no
    logfile: "{directory}/unbound.log"
    interface: 127.0.0.1
    port: {port}
    do-ip6: no
    do-daemonize: no
{more}
"""


def nsd(directory, addresses, zones, *options, more=""):
    """The command that starts NSD on addresses (`127.0.0.1@53`) with the settings of each zone, one a line; `directory` is
    its own. `options` belong to `server`, `more` is further clauses."""
    said = [f"    {option}" for option in (*(f"ip-address: {address}" for address in addresses), *options)]
    listed = [f'zone:\n    name: "{zone}"\n    {settings}\n' for zone, settings in zones.items()]
    conf = directory / "nsd.conf"
    conf.write_text(NSD.format(directory=directory, options="\n".join(said), zones=more + "".join(listed)))
    return ["nsd", "-d", "-c", str(conf)]


def unbound(directory, port, more):
    """The command that starts unbound on a port of loopback. `more` begins with options of `server`."""
    conf = directory / "unbound.conf"
    conf.write_text(UNBOUND.format(directory=directory, port=port, more=more))
    return ["unbound", "-d", "-c", str(conf)]


@contextlib.contextmanager
def running(command, log, is_ready, seconds=15):
    """A server, from when it is ready until the end of the block; what it prints is in `log`."""
    with open(log, "ab") as out:
        process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        until(is_ready, seconds, f"have {command[0]} answer; see {log}")
        yield process
    finally:
        process.terminate()
        process.wait(10)


def answers(port, name=".", rtype="SOA"):
    """Whether anything on that port of loopback answers, whatever it says."""
    command = ["dig", "@127.0.0.1", "-p", str(port), "+time=1", "+tries=1", name, rtype]
    return "status: " in subprocess.run(command, capture_output=True, text=True, check=False).stdout
