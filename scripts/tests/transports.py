#!/usr/bin/env python3
"""DNS over TCP, TLS, HTTPS and QUIC with other people's clients (kdig, dig, curl, dnsperf, h2load), the node's own certificate
authority in the eyes of openssl, discovery of encrypted transports, and sockets that were opened before the node started."""

import fcntl
import re
import shutil
import socket
import struct
import subprocess

from common import BIN, Net, main, no_panics, over_https, parser, require, until, workspace

# What is asked over every transport, and the answer as dig and kdig print it.
QUESTION, ANSWER = ["ns.nic.p2p", "A"], re.compile(r"^ns\.nic\.p2p\.\s+\d+\s+IN\s+A\s+127\.0\.0\.1$", re.MULTILINE)
TLS = """
[dns.tls]
listen = ["127.0.0.1:{tls}"]
https_listen = ["127.0.0.1:{https}"]
quic_listen = ["127.0.0.1:{tls}"]
"""


def tool(*command, seconds=20):
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    return done.stdout + done.stderr


def answered(seen):
    return ANSWER.search(seen)


def check_clients(ports, ca):
    """Each client, told to trust the authority, is answered; told to expect another name, it refuses."""
    trust = [f"+tls-ca={ca}", "+tls-hostname=ns.nic.p2p"]
    kdig = lambda port, *options: tool("kdig", "@127.0.0.1", "-p", str(port), "+timeout=5", "+retry=0", *options, *QUESTION)
    dig = lambda port, *options: tool("dig", "@127.0.0.1", "-p", str(port), "+time=5", "+tries=1", *options, *QUESTION)
    # +quic comes last: kdig 3.2 takes +tls-ca after it for a wish for TCP, and crashes.
    https = "+https=ns.nic.p2p/dns-query"
    runs = {
        "kdig tls": kdig(ports["tls"], "+tls", *trust),
        "kdig https": kdig(ports["https"], https, *trust),
        "kdig https-get": kdig(ports["https"], https, "+https-get", *trust),
        "kdig quic": kdig(ports["tls"], *trust, "+quic"),
        "dig tcp": dig(ports["plain"], "+tcp", "+keepopen", *QUESTION),
        "dig tls": dig(ports["tls"], "+tls", *trust),
        "dig https": dig(ports["https"], "+https", *trust),
        "dig https-get": dig(ports["https"], "+https-get", *trust),
    }
    for name, seen in runs.items():
        require(answered(seen), f"{name}: {seen}")
    # What each says of a certificate for another name, or of an unknown authority. kdig says nothing about QUIC's.
    for name, words, seen in [
        ("kdig tls", "Error in the certificate", kdig(ports["tls"], "+tls", f"+tls-ca={ca}", "+tls-hostname=example.com")),
        ("kdig quic", "failed to query server", kdig(ports["tls"], f"+tls-ca={ca}", "+tls-hostname=example.com", "+quic")),
        ("dig https", "hostname mismatch", dig(ports["https"], "+https", f"+tls-ca={ca}", "+tls-hostname=example.com")),
        ("dig tls without the authority", "unable to get local issuer", dig(ports["tls"], "+tls", "+tls-ca")),
    ]:
        require(words in seen and not answered(seen), f"{name} does not refuse a certificate that it should refuse: {seen}")
    for transport in ("+tls", "+quic"):
        seen = kdig(ports["tls"], *trust, transport, "+padding")
        require("Received 468 B" in seen, f"kdig {transport} +padding: {seen}")
    return list(runs)


def check_http(port, ca):
    """What is no DNS query gets the fitting status and a sentence."""
    url = f"https://ns.nic.p2p:{port}"
    cases = [
        (["--data-binary", "x", "-H", "content-type: text/plain"], "/dns-query", "415"),
        (["-X", "DELETE"], "/dns-query", "405"),
        ([], "/dns-query", "400"),
        ([], "/dns-query?dns=%21", "400"),
        ([], "/", "404"),
    ]
    # Several times: what ends a stream and what comes on it can cross.
    for options, path, expected in cases * 5:
        seen = tool(
            "curl", "-sS", "--http2", "--cacert", str(ca), "--resolve", f"ns.nic.p2p:{port}:127.0.0.1",
            "-w", "\n%{http_version} %{http_code}", *options, url + path,
        )
        require(seen.endswith(f"\n2 {expected}") and len(seen.splitlines()) == 3, f"curl {options} {path}: {seen!r}")
    return 5 * len(cases)


def check_authority(directory, ca, key):
    """openssl accepts what the authority signs for our names, and refuses what it signs for others."""
    seen = tool("openssl", "x509", "-in", str(ca), "-noout", "-text")
    for word in ("X509v3 Name Constraints: critical", "DNS:ns.nic.p2p", "IP:127.0.0.1/255.255.255.255",
                 "CA:TRUE, pathlen:0", "TLS Web Server Authentication"):
        require(word in seen, f"{word} is not in the authority's certificate: {seen}")
    ours, others = ("DNS:ns.nic.p2p", "IP:127.0.0.1"), ("DNS:some.p2p", "DNS:example.com", "IP:192.0.2.1")
    results = {}
    for name in ours + others:
        leaf, extensions = directory / "leaf", directory / "extensions"
        extensions.write_text(f"subjectAltName={name}\nextendedKeyUsage=serverAuth\n")
        tool("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=leaf",
             "-keyout", f"{leaf}.key", "-out", f"{leaf}.csr")
        tool("openssl", "x509", "-req", "-in", f"{leaf}.csr", "-CA", str(ca), "-CAkey", str(key), "-set_serial", "7",
             "-days", "1", "-extfile", str(extensions), "-out", f"{leaf}.crt")
        results[name] = tool("openssl", "verify", "-purpose", "sslserver", "-CAfile", str(ca), f"{leaf}.crt")
    for name in ours:
        require("leaf.crt: OK" in results[name], f"openssl refuses {name}, which is ours: {results[name]}")
    for name in others:
        require("permitted subtree violation" in results[name], f"openssl accepts {name}: {results[name]}")


def check_discovery(ports):
    seen = tool("dig", "@127.0.0.1", "-p", str(ports["plain"]), "+short", "_dns.resolver.arpa", "SVCB")
    lines = sorted(seen.splitlines())
    expected = [
        f'1 ns.nic.p2p. alpn="doq" port={ports["tls"]} ipv4hint=127.0.0.1',
        f'2 ns.nic.p2p. alpn="dot" port={ports["tls"]} ipv4hint=127.0.0.1',
        f'3 ns.nic.p2p. alpn="h2" port={ports["https"]} ipv4hint=127.0.0.1 key7="/dns-query{{?dns}}"',
    ]
    require(lines == expected, f"discovery: {seen}")


def query(number):
    return struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + b"\x02ns\x03nic\x03p2p\0" + struct.pack(">2H", 1, 1)


def frame(message):
    return struct.pack(">H", len(message)) + message


def read_message(reader):
    (length,) = struct.unpack(">H", reader.read(2))
    return reader.read(length)


def check_pipelining(port, count=500):
    """All questions are written before any answer is read."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as stream:
        stream.sendall(b"".join(frame(query(number)) for number in range(count)))
        reader = stream.makefile("rb")
        seen = [int.from_bytes(read_message(reader)[:2], "big") for _ in range(count)]
        require(sorted(seen) == list(range(count)), "not every pipelined question was answered once")
    return count


def check_load(ports, directory, seconds=2):
    """Many questions at once on a few connections, by dnsperf and h2load: none is lost."""
    queries = directory / "queries"
    queries.write_text("".join(f"n{number}.p2p A\n" for number in range(1_000)))
    rates = []
    for mode, port in (("tcp", "plain"), ("dot", "tls")):
        seen = tool("dnsperf", "-m", mode, "-s", "127.0.0.1", "-p", str(ports[port]), "-d", str(queries), "-l", str(seconds),
                    "-c", "4", "-q", "200")
        lost, rate = (re.search(rf"Queries {what}:\s+([\d.]+)", seen) for what in ("lost", "per second"))
        require(lost and rate, f"dnsperf over {mode}: {seen}")
        require(lost[1] == "0" and float(rate[1]) > 1_000, f"dnsperf over {mode}: {lost[1]} lost, {rate[1]} a second")
        rates.append(f"{float(rate[1]):,.0f} questions a second over {mode}")
    rates.append(f"{over_https(ports['https'], query(0)):,.0f} over https")
    return ", ".join(rates)


def check_activation(node):
    """The node serves sockets that were open before it, and queries from before its start are answered."""
    tcp, udp = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    port = tcp.getsockname()[1]
    udp.bind(("127.0.0.1", port))
    early = socket.create_connection(("127.0.0.1", port), timeout=30)
    early.sendall(frame(query(7)))
    # From 3 on, as systemd does it, and with the number of the process that they are for.
    high = [fcntl.fcntl(each, fcntl.F_DUPFD, 100 + index) for index, each in enumerate((tcp, udp))]
    shell = f'exec 3<&{high[0]} 4<&{high[1]}; LISTEN_PID=$$ LISTEN_FDS=2 exec "$@"'
    command = ["bash", "-c", shell, "bash", str(BIN / "namestead"), "run", "--config", str(node.config)]
    with open(node.log, "ab") as log:
        process = subprocess.Popen(command, pass_fds=high, stdout=log, stderr=log, cwd=node.directory)
    try:
        require(read_message(early.makefile("rb"))[:2] == b"\0\x07", "a question from before the start is lost")
        for options in ([], ["+tcp"]):
            ask = lambda: tool("dig", "@127.0.0.1", "-p", str(port), "+time=2", "+tries=1", *options, *QUESTION)
            until(lambda: answered(ask()), 20, f"have given sockets answer {options}")
        seen = tool("dig", f"@{node.dns.split(':')[0]}", "-p", node.dns.split(":")[1], "+time=1", "+tries=1", *QUESTION)
        require(not answered(seen), f"the configured address is served besides the given ones: {seen}")
    finally:
        process.terminate()
        process.wait(20)
        for each in (tcp, udp, early):
            each.close()


def run(args):
    for name in ("kdig", "dig", "curl", "dnsperf", "h2load", "openssl"):
        require(shutil.which(name), f"{name} is not installed; try: scripts/setup --test")
    with workspace(args, "transports") as directory, Net.plan(1, directory) as net:
        node = net[1]
        plain = int(node.dns.rsplit(":", 1)[1])
        ports = {"plain": plain, "tls": plain + 4, "https": plain + 5}
        net.write_configs(mining="off")
        node.config.write_text(node.config.read_text() + TLS.format(**ports))
        net.start()
        ask = lambda: tool("dig", "@127.0.0.1", "-p", str(plain), "+time=1", "+tries=1", *QUESTION)
        until(lambda: answered(ask()), 30, "have the node answer")
        ca, key = node.data_dir / "dns-ca.crt", node.data_dir / "dns-ca.key"
        require(key.stat().st_mode & 0o777 == 0o600, "others may read the authority's key")
        require(str(ca) in node.log.read_text(), "the log does not say where the authority's certificate is")
        clients = check_clients(ports, ca)
        http = check_http(ports["https"], ca)
        check_authority(directory, ca, key)
        check_discovery(ports)
        pipelined = check_pipelining(plain)
        load = check_load(ports, directory)
        first = ca.read_bytes()
        require(node.stop(), "the node does not stop")
        check_activation(node)
        require(ca.read_bytes() == first, "the authority was made anew at the second start")
        no_panics(net)
        return f"{', '.join(clients)}; {http} wrong requests, {pipelined} pipelined questions, {load}, given sockets"


main(run, parser(__doc__).parse_args())
