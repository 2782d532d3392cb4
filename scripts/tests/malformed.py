#!/usr/bin/env python3
"""Malformed anything, sent to a running node: to its API, its DNS, its peer-to-peer ports, its programs and files.

Everything must be refused clearly (an error object, an error code, a closed connection, a message naming the key), and
afterwards the same process must still be there: no panic in a log, no growth of memory or descriptors, blocks still
coming, and names still answered.
"""

import json
import os
import pathlib
import random
import socket
import struct
import subprocess
import time

from common import Net, main, no_panics, parser, require, until, workspace
from harness.node import BIN
from harness.wallet import Wallet

GROWTH_MIB = 48
GROWTH_DESCRIPTORS = 20


# --- API --------------------------------------------------------------------------------------------------------------

def bad_requests():
    """(method, path, body, headers): well-formed HTTP, each wrong in one way."""
    deep = b"[" * 100_000
    posts = [b"", b"{", b"null", b"[]", b'"x"', deep, b"\xff\xfe", b"{}" + b" " * 70_000, b'{"hex":1}', b'{"hex":"zz"}',
             b'{"hex":"0"}', b'{"hex":""}', b'{"hex":"' + b"00" * 9_217 + b'"}', b'{"hex":"01ff' + b"41" * 200 + b'"}']
    for body in posts:
        yield "POST", "/v1/transactions", body, {}
    operations = [{}, {"kind": "nonsense"}, {"kind": "register"}, {"kind": "change", "transaction_hex": "00"},
                  {"kind": "register", "name": "UPPER", "commit": {"class": 0, "commit_hash": "00" * 32, "anchor_height": 1}, "reveal_hex": "00"},
                  {"kind": "register", "name": "ok", "commit": {"class": 300, "commit_hash": "0", "anchor_height": -1}, "reveal_hex": ""}]
    for body in operations:
        yield "POST", "/v1/operations", json.dumps(body).encode(), {}
    names = ["-a", "a-", "a" * 64, "a.b", "%00", "%ff%fe", "..%2f..%2fetc%2fpasswd", "ab--c", "%F0%9F%92%A9", "a" * 6000]
    for name in names:
        yield "GET", f"/v1/names/{name}", None, {}
    for path in ["/v1/nothing", "/v1/blocks/99999999999", "/v1/blocks/-1", "/v1/blocks/xyz", "/v1/transactions/00",
                 "/v1/transactions/" + "g" * 64, "/v1/operations/../../x", "/v1/names?limit=-1", "/v1/names?limit=99999999999999999999",
                 "/v1/names?owner=lname1qqqq", "/v1/names?expiring_within=soon", "/v1/blocks?before=x", "/v1/operations/nonsense"]:
        yield "GET", path, None, {}
    yield "DELETE", "/v1/status", None, {}
    yield "PUT", "/v1/names/alice", b"{}", {}
    yield "GET", "/v1/status", None, {"Host": "attacker.example"}
    yield "POST", "/v1/operations", b"{}", {"Authorization": "Bearer wrong"}
    yield "POST", "/v1/operations", b"{}", {"Authorization": None}
    yield "POST", "/v1/operations", b"{}", {"Origin": "https://attacker.example"}


def is_error_object(answer):
    try:
        error = json.loads(answer)["error"]
        return bool(error["code"] and error["message"])
    except (ValueError, KeyError, TypeError):
        return False


def api_refuses(node):
    token = pathlib.Path(node.token_file).read_text().strip()
    sent = 0
    for method, path, body, extra in bad_requests():
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}", **extra}
        headers = {key: value for key, value in headers.items() if value is not None}
        status, _, answer = node.api().raw(method, path, body, headers)
        label = f"{method} {path[:60]} {extra or ''} {(body or b'')[:40]!r}"
        require(400 <= status < 500, f"{label}: answered {status} {answer[:200]!r}")
        require(is_error_object(answer), f"{label}: {status} without an error object: {answer[:200]!r}")
        sent += 1
    return sent


def raw_http(rng):
    yield b"\0" * 100
    yield b"GET"
    yield b"GET / HTTP/9.9\r\n\r\n"
    yield b"GET /v1/status HTTP/1.1\r\n\r\n"
    yield b"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X-A: b\r\n" * 5_000 + b"\r\n"
    yield b"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n"
    yield b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    yield b"POST /v1/transactions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999999\r\n\r\n{"
    yield b"POST /v1/transactions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -5\r\n\r\n{"
    yield b"POST /v1/transactions HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nZZZZ\r\n"
    yield b"POST /v1/transactions HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc"
    for _ in range(100):
        yield rng.randbytes(rng.randrange(1, 2_000))


# --- DNS --------------------------------------------------------------------------------------------------------------

def query(name=b"\x05hello\x03p2p\0", qtype=1, ident=0x1234, counts=(1, 0, 0, 0), flags=0x0100):
    return struct.pack(">HHHHHH", ident, flags, *counts) + name + struct.pack(">HH", qtype, 1)


def bad_packets(rng, mutations):
    for length in range(0, 13):
        yield bytes(length)
    yield query(counts=(65535, 65535, 65535, 65535))
    yield query(counts=(0, 0, 0, 0))
    yield query(counts=(2, 0, 0, 0))
    yield query(name=b"\xc0\x0c")  # a pointer to itself
    yield query(name=b"\xc0\xff")
    yield query(name=b"\x3f" + b"a" * 62)
    yield query(name=b"\x40" + b"a" * 64 + b"\0")
    yield query(name=(b"\x3f" + b"a" * 63) * 5 + b"\0")
    yield query(name=b"\x01a" * 200 + b"\0")
    yield query(flags=0x8180)  # a response
    for opcode in range(16):
        yield query(flags=opcode << 11)
    yield query(counts=(1, 0, 0, 1)) + b"\0\0\x29\xff\xff\0\x09\0\0\0\0"  # EDNS version 9
    yield query(counts=(1, 0, 0, 1)) + b"\0\0\x29\xff\xff\0\0\0\0\xff\xff"  # an option list that is not there
    yield query(counts=(1, 0, 0, 2)) + b"\0\0\x29\x04\xd0\0\0\0\0\0\0" * 2
    valid = query(counts=(1, 0, 0, 1)) + b"\0\0\x29\x04\xd0\0\0\0\0\0\0"
    for _ in range(mutations):
        packet = bytearray(valid)
        for _ in range(rng.randrange(1, 5)):
            packet[rng.randrange(len(packet))] = rng.randrange(256)
        yield bytes(packet[: rng.randrange(len(packet) + 1)] if rng.random() < 0.3 else packet)


def dns_survives(node, rng, mutations):
    host, port = node.dns.split(":")
    target, sent, biggest = (host, int(port)), 0, 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setblocking(False)
        for packet in bad_packets(rng, mutations):
            udp.sendto(packet, target)
            sent += 1
            if sent % 50 == 0:
                time.sleep(0.005)
            try:
                while True:
                    biggest = max(biggest, len(udp.recv(65535)))
            except BlockingIOError:
                pass
    require(biggest <= 1232, f"a UDP answer of {biggest} bytes")
    for stream in (b"\0\0", b"\xff\xff" + b"a" * 100, b"\0\x05abc", struct.pack(">H", 12) + bytes(12), rng.randbytes(5_000)):
        send_and_leave(target, stream)
        sent += 1
    return sent


# --- sockets in general -----------------------------------------------------------------------------------------------

def send_and_leave(target, data, seconds=0.3):
    """Sends, takes what comes for a moment, goes away."""
    with socket.create_connection(target, timeout=5) as connection:
        connection.settimeout(seconds)
        try:
            connection.sendall(data)
            connection.recv(65536)
        except OSError:
            pass  # refused by closing: fine


def idle_connections(targets, count):
    """Opens many connections that never say anything; what the node does not want it may refuse."""
    held = []
    for target in targets:
        for _ in range(count):
            try:
                held.append(socket.create_connection(target, timeout=2))
            except OSError:
                break
    time.sleep(1)
    for connection in held:
        connection.close()
    return len(held)


def p2p_survives(node, rng):
    target = ("127.0.0.1", node.p2p_port)
    for _ in range(60):
        send_and_leave(target, rng.randbytes(rng.randrange(1, 3_000)), seconds=0.05)
    multistream = b"\x13/multistream/1.0.0\n"
    for tail in (b"", b"\x07/noise\n" + rng.randbytes(500), b"\xff" * 500, b"\x06/none\n", b"\x07/noise\n" + b"\xff\xff" + bytes(65_535)):
        send_and_leave(target, multistream + tail)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for _ in range(400):
            udp.sendto(rng.randbytes(rng.randrange(1, 1_400)), target)
        for _ in range(200):
            udp.sendto(b"\xc0\0\0\0\x01\x08" + rng.randbytes(1_194), target)  # looks like a QUIC Initial
    return 665


# --- files and programs -----------------------------------------------------------------------------------------------

def bad_configs(good):
    yield "unknown key", good + "\nunknown_key_here = 1\n", None
    yield "misspelt key", good.replace("[mining]", "[minning]"), "minning"
    yield "wrong type", good.replace("threads = 1", 'threads = "one"'), "bad.toml:"
    yield "wrong network", good.replace('network = "local"', 'network = "mars"'), "mars"
    yield "bad address", good.replace("/ip4/127.0.0.1/tcp/", "/ip4/999.0.0.1/tcp/", 1), None
    yield "not TOML", "\0\1\2{{{{", None
    yield "port too large", good.replace('[api]\nlisten = "127.0.0.1:', '[api]\nlisten = "127.0.0.1:9'), None


def quiet_refusal(run, label, word=None):
    said = run.stdout + run.stderr
    require(run.returncode not in (0, 101, -6, -11), f"{label}: exit code {run.returncode}: {said}")
    require("panicked" not in said and "RUST_BACKTRACE" not in said and said.strip(), f"{label}: {said!r}")
    require(word is None or word in said, f"{label}: the message does not name {word}: {said}")


def programs_refuse(node, wallet, directory, rng):
    tried = 0
    for label, text, word in bad_configs(node.config.read_text()):
        path = directory / "bad.toml"
        path.write_text(text)
        quiet_refusal(subprocess.run([str(BIN / "namestead"), "check-config", "--config", str(path)], capture_output=True, text=True, check=False), f"config: {label}", word)
        tried += 1
    for command in (["register"], ["register", "Bad_Name"], ["register", "a" * 64], ["lookup", "-"], ["nonsense"], ["lookup", "x", "NOTYPE"],
                    ["transfer", "alice", "--to", "lname1notanaddress"], ["ops", "show", "nonsense"], ["verify", "/nonexistent"]):
        quiet_refusal(wallet.run(*command), f"namectl {' '.join(command)}")
        tried += 1
    for size in (0, 1, 100, 5_000, 200_000):
        proof = directory / "bad.proof"
        proof.write_bytes(rng.randbytes(size))
        quiet_refusal(wallet.run("verify", str(proof)), f"proof of {size} random bytes")
        tried += 1
    for records in ("@ 300 IN A 999.1.1.1\n", "@ 300 IN NOSUCHTYPE x\n", "x" * 100_000, '@ 300 IN TXT "open\n', "\0\0\0"):
        zone = directory / "bad.zone"
        zone.write_text(records)
        quiet_refusal(wallet.run("register", "some-name", "--records", str(zone), "--no-wait"), f"records {records[:30]!r}")
        tried += 1
    return tried


# --- the whole --------------------------------------------------------------------------------------------------------

def descriptors(node):
    return len(os.listdir(f"/proc/{node.pid}/fd"))


def run(args):
    rng = random.Random(args.seed)
    with workspace(args, "malformed") as directory, Net.plan(2, directory) as net:
        net.up()
        node, pid = net[1], net[1].pid
        wallet = Wallet(directory / "wallet", node).create()
        wallet.register("hello", "@ 300 IN A 192.0.2.7\n", wait=True)
        api, dns = tuple(node.api_listen.split(":")), tuple(node.dns.split(":"))
        api, dns, p2p = (api[0], int(api[1])), (dns[0], int(dns[1])), ("127.0.0.1", node.p2p_port)
        memory, files, height = node.resident_kib(), descriptors(node), node.api().status()["height"]
        counts = {"API requests": api_refuses(node)}
        for data in raw_http(rng):
            send_and_leave(api, data, seconds=0.05)
        counts["DNS packets"] = dns_survives(node, rng, args.mutations)
        counts["peer-to-peer messages"] = p2p_survives(node, rng)
        counts["idle connections"] = idle_connections((api, dns, p2p), 200)
        counts["files and commands"] = programs_refuse(node, wallet, directory, rng)
        require(node.is_running() and node.pid == pid, "the node is gone")
        until(lambda: node.api().status()["height"] > height + 2, 30, "see further blocks")
        require(node.dig("hello.p2p") == "192.0.2.7", "the name is no longer answered")
        until(lambda: descriptors(node) <= files + GROWTH_DESCRIPTORS, 60, "see the connections closed", pause=1)
        grown = (node.resident_kib() - memory) / 1024
        require(grown <= GROWTH_MIB, f"memory grew by {grown:.0f} MiB")
        no_panics(net)
        sent = ", ".join(f"{number} {what}" for what, number in counts.items())
        return f"{sent}; memory {grown:+.1f} MiB (seed {args.seed})"


arguments = parser(__doc__)
arguments.add_argument("--mutations", type=int, default=2_000, help="changed copies of a valid DNS query (default %(default)s)")
arguments.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="repeats a run")
main(run, arguments.parse_args())
