#!/usr/bin/env python3
"""The questions that servers are known to answer wrongly, put to a live node with `dig`: the list of RFC 8906 §8, and the
queries of ISC's EDNS compliance tester (ednscomp.isc.org) under their names there. Every verdict must be right."""

import re
import shutil
import subprocess

import dnswire
from common import Net, main, no_panics, parser, require, until, workspace
from harness.wallet import Wallet
from mutate import LABEL, survives

RECORDS = "@ 300 IN A 192.0.2.7\n" + "".join(f'big 300 IN TXT "{str(number) * 60}"\n' for number in range(1, 10))
BASIC = "+noedns +noad +norec"
EDNS = "+nocookie +edns=0 +noad +norec"
# EDNS=1, without dig asking again with 0 when it hears BADVERS.
EDNS1 = "+nocookie +edns=1 +noednsneg +noad +norec"
PLAIN = dict(status="NOERROR", soa=True, flags={"qr", "aa"}, opt=False)
WITH_OPT = dict(PLAIN, opt=True)
BAD_VERSION = dict(status="BADVERS", soa=False, flags={"qr"}, opt=True)

# (name, arguments of dig, what must be there). ZONE stands for the zone.
CASES = [
    # RFC 8906 §8.1: plain DNS.
    ("zone (8.1.1)", f"{BASIC} soa ZONE", PLAIN),
    ("unknown type (8.1.2)", f"{BASIC} type1000 ZONE", dict(PLAIN, soa=False)),
    # An authority clears CD (RFC 4035 §3.1.6).
    ("CD=1 (8.1.3.1)", f"{BASIC} +cd soa ZONE", PLAIN),
    ("AD=1 (8.1.3.2)", "+noedns +norec +ad soa ZONE", PLAIN),
    ("Z=1 (8.1.3.3)", f"{BASIC} +zflag soa ZONE", PLAIN),
    ("RD=1 (8.1.3.4)", "+noedns +noad +rec soa ZONE", dict(PLAIN, flags={"qr", "aa", "rd"})),
    ("opcode 15 (8.1.4)", f"{BASIC} +opcode=15 +header-only", dict(status="NOTIMP", soa=False, flags={"qr"}, opt=False)),
    ("TCP (8.1.5)", f"{BASIC} +tcp soa ZONE", PLAIN),
    # §8.2: EDNS.
    ("EDNS (8.2.1)", f"{EDNS} soa ZONE", WITH_OPT),
    ("EDNS version 1 (8.2.2)", f"{EDNS1} soa ZONE", BAD_VERSION),
    ("unknown option (8.2.3)", f"{EDNS} +ednsopt=100 soa ZONE", WITH_OPT),
    ("unknown flag (8.2.4)", f"{EDNS} +ednsflags=0x40 soa ZONE", WITH_OPT),
    ("version 1, unknown flag (8.2.5)", f"{EDNS1} +ednsflags=0x40 soa ZONE", BAD_VERSION),
    ("version 1, unknown option (8.2.6)", f"{EDNS1} +ednsopt=100 soa ZONE", BAD_VERSION),
    ("truncation (8.2.7)", f"{EDNS} +dnssec +bufsize=512 +ignore dnskey ZONE", dict(WITH_OPT, soa=False, do=True, most=512)),
    ("truncation that happens", f"{EDNS} +bufsize=512 +ignore txt big.NAME.ZONE", dict(WITH_OPT, soa=False, flags={"qr", "aa", "tc"}, most=512)),
    ("DO=1 (8.2.8)", f"{EDNS} +dnssec soa ZONE", dict(WITH_OPT, do=True, signed=True)),
    ("version 1, DO=1 (8.2.9)", f"{EDNS1} +dnssec soa ZONE", dict(BAD_VERSION, do=None)),
    ("several options (8.2.10)", "+edns=0 +noad +norec +cookie +nsid +expire +subnet=0.0.0.0/0 soa ZONE", WITH_OPT),
    ("EDNS over TCP (3.2.7)", f"{EDNS} +dnssec +tcp soa ZONE", dict(WITH_OPT, do=True, signed=True)),
    # ISC's tester, what is not the same as above.
    ("plain", f"{BASIC} soa ZONE", PLAIN),
    ("edns", f"{EDNS} soa ZONE", WITH_OPT),
    ("edns@512", f"{EDNS} +dnssec +bufsize=512 +ignore dnskey ZONE", dict(WITH_OPT, soa=False, do=True, most=512)),
    ("edns1", "+nocookie +edns=100 +noednsneg +noad +norec soa ZONE", BAD_VERSION),
    ("ednsopt", f"{EDNS} +ednsopt=100:0102 soa ZONE", WITH_OPT),
    ("edns1opt", "+nocookie +edns=100 +noednsneg +ednsopt=100 +noad +norec soa ZONE", BAD_VERSION),
    ("ednsflags", f"{EDNS} +ednsflags=0x80 soa ZONE", WITH_OPT),
    ("edns1flags", "+nocookie +edns=100 +noednsneg +ednsflags=0x80 +noad +norec soa ZONE", BAD_VERSION),
    ("do", f"{EDNS} +dnssec soa ZONE", dict(WITH_OPT, do=True, signed=True)),
    ("docookie", "+edns=0 +noad +norec +cookie +dnssec soa ZONE", dict(WITH_OPT, do=True, signed=True)),
    ("edns512tcp", f"{EDNS} +dnssec +tcp +bufsize=512 +ignore dnskey ZONE", dict(WITH_OPT, soa=False, do=True)),
    ("optlist", "+edns=0 +noad +norec +nsid +subnet=0.0.0.0/0 +expire +cookie=0102030405060708 soa ZONE", WITH_OPT),
    ("signed", f"{EDNS} +dnssec dnskey ZONE", dict(WITH_OPT, soa=False, do=True, signed=True)),
    ("ednstcp", f"{EDNS} +tcp soa ZONE", WITH_OPT),
    ("ednstcp of what does not fit", f"{EDNS} +tcp txt big.NAME.ZONE", dict(WITH_OPT, soa=False)),
    # The rest of RFC 8906 §3 and what it takes for granted.
    ("unknown class", f"{BASIC} -c CLASS77 soa ZONE", dict(status="REFUSED", soa=False, flags={"qr"}, opt=False)),
    ("name that is absent", f"{BASIC} a nobody-has-this.ZONE", dict(status="NXDOMAIN", soa=None, flags={"qr", "aa"}, opt=False)),
    ("zone of others", f"{BASIC} soa example.com", dict(status="REFUSED", soa=False, flags={"qr"}, opt=False)),
    ("empty question", f"{BASIC} +header-only", dict(status="FORMERR", soa=False, flags={"qr"}, opt=False)),
    ("IQUERY", f"{BASIC} +opcode=1 soa ZONE", dict(status="NOTIMP", soa=False, flags={"qr"}, opt=False)),
    ("STATUS", f"{BASIC} +opcode=2 soa ZONE", dict(status="NOTIMP", soa=False, flags={"qr"}, opt=False)),
    *((f"opcode {code}", f"{BASIC} +opcode={code} soa ZONE", dict(status="NOTIMP", soa=False, flags={"qr"}, opt=False))
      for code in (3, 6, 7, 8, 9, 10, 11, 12, 13, 14)),
]


def dig(node, arguments):
    host, port = node.dns.rsplit(":", 1)
    command = ["dig", f"@{host}", "-p", port, "+time=3", "+tries=1", "+qr", *arguments.split()]
    said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout
    # Behind the query that +qr shows.
    return said[said.rfind(";; Got answer:") :] if ";; Got answer:" in said else ""


def verdict(text, zone, expected):
    """What is wrong with an answer, or None."""
    if not text:
        return "no answer"
    status = re.search(r"status: (\w+)", text)[1]
    flags, more = re.search(r"^;; flags:([a-z ]*);(.*)$", text, re.M).groups()
    # RA says whether there are upstreams; that is no matter of this list.
    flags = set(flags.split()) - {"ra"}
    opt = re.search(r"^; EDNS: version: (\d+), flags:([a-z ]*);(.*?)udp: (\d+)$", text, re.M)
    soa = re.search(rf"^{re.escape(zone)}\.\s+\d+\s+IN\s+SOA\s", text, re.M | re.I)
    size = int(re.search(r"MSG SIZE\s+rcvd: (\d+)", text)[1])
    wrong = []
    if status != expected["status"]:
        wrong.append(f"status {status} for {expected['status']}")
    if flags != expected["flags"]:
        wrong.append(f"flags {' '.join(sorted(flags))} for {' '.join(sorted(expected['flags']))}")
    if "MBZ" in more:
        wrong.append("the Z bit comes back")
    if expected["soa"] is not None and bool(soa) != expected["soa"] and ("AUTHORITY" not in text or expected["soa"]):
        wrong.append("SOA missing" if expected["soa"] else "SOA found")
    if bool(opt) != expected["opt"]:
        wrong.append("an OPT record that was not asked for" if opt else "no OPT record")
    if opt:
        version, edns_flags, mbz, _ = opt.groups()
        if version != "0":
            wrong.append(f"EDNS version {version}")
        wants_do = expected.get("do", False)
        if wants_do is not None and ("do" in edns_flags.split()) != wants_do:
            wrong.append("DO is not as it was sent")
        if "MBZ" in mbz:
            wrong.append("unknown EDNS flags come back")
        if re.search(r"^; OPT=(100|8|9):?", text, re.M) or re.search(r"COOKIE:.*\(echoed\)", text):
            wrong.append("an option is echoed")
    if expected.get("signed") and "RRSIG" not in text:
        wrong.append("no signature")
    if size > expected.get("most", 65_535):
        wrong.append(f"{size} bytes")
    if re.search(r"(malformed|extra bytes|trailing)", text, re.I):
        wrong.append("dig is not content")
    return "; ".join(wrong) or None


def all_types(node):
    """Every assigned and a thousand other types: never silence, NOTIMP or SERVFAIL (RFC 8906 §3.1.1)."""
    import socket

    host, port = node.dns.rsplit(":", 1)
    name = dnswire.wire([LABEL.encode(), b"p2p"])
    asked = [*range(1, 300), *range(300, 65_536, 67)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(5)
        udp.connect((host, int(port)))
        for qtype in asked:
            udp.send(dnswire.query(name, qtype, ident=qtype))
            answer = dnswire.Message(udp.recv(65_535))
            refused = {41: 1, 128: 1, 249: 1, 250: 1, 251: 5, 252: 5}.get(qtype, 0)
            require((answer.ident, answer.rcode) == (qtype, refused), f"type {qtype}: {answer.show()}")
    return len(asked)


def run(args):
    require(shutil.which("dig"), "dig is not installed; try: scripts/setup")
    with workspace(args, "compliance") as directory, Net.plan(1, directory) as net:
        net.up()
        node = net[1]
        Wallet(directory / "wallet", node).create().register(LABEL, RECORDS, wait=True)
        until(lambda: node.dig(f"{LABEL}.p2p"), 10, "see the name in DNS")
        wrong, asked = [], 0
        for zone in ("p2p", "p2p.alt"):
            for name, arguments, expected in CASES:
                text = dig(node, arguments.replace("ZONE", zone).replace("NAME", LABEL))
                problem = verdict(text, zone, expected)
                asked += 1
                if args.verbose or problem:
                    print(f"  {zone} {name}: {problem or 'ok'}", flush=True)
                if problem:
                    wrong.append(f"{zone} {name}: {problem}\n{text}")
        require(not wrong, f"{len(wrong)} of {asked} answers are wrong:\n" + "\n".join(wrong))
        types = all_types(node)
        mutated = survives(node, args.mutations, args.seed)
        no_panics(net)
        return f"{asked} questions of RFC 8906 and ISC's list, {types} types, all right; {mutated}"


arguments = parser(__doc__)
arguments.add_argument("--verbose", action="store_true", help="print every verdict")
arguments.add_argument("--mutations", type=int, default=50_000, help="mutated messages sent as well (default %(default)s)")
arguments.add_argument("--seed", type=int, default=1, help="repeats the mutations (default %(default)s)")
main(run, arguments.parse_args())
