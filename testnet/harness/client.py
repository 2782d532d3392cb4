"""Talks to one running node: its API over TCP or the unix socket, its DNS through dig, its metrics."""

import http.client
import json
import socket
import subprocess
import urllib.parse


class ApiError(Exception):
    """The node answered with an error object, or with something that is not JSON."""

    def __init__(self, status, body):
        super().__init__(f"HTTP {status}: {body!r}"[:600])
        self.status = status
        error = body.get("error", {}) if isinstance(body, dict) else {}
        self.code = error.get("code")
        self.message = error.get("message")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Api:
    """Requests to `/v1/...`. A unix socket works from outside a network namespace, loopback does not."""

    def __init__(self, address, token_file=None, timeout=10):
        self._address = address
        self._token_file = token_file
        self._timeout = timeout

    def _connection(self):
        if self._address.startswith("unix:"):
            return _UnixConnection(self._address[5:], self._timeout)
        netloc = urllib.parse.urlsplit(self._address).netloc
        return http.client.HTTPConnection(netloc, timeout=self._timeout)

    def raw(self, method, path, body=None, headers=None):
        """One exchange: (status, headers, body bytes). Raises OSError or HTTPException when there is no answer."""
        connection = self._connection()
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def _headers(self):
        headers = {"Content-Type": "application/json"}
        if self._token_file:
            with open(self._token_file, encoding="ascii") as file:
                headers["Authorization"] = "Bearer " + file.read().strip()
        return headers

    def _json(self, method, path, body):
        status, _, answer = self.raw(method, path, body, self._headers())
        try:
            answer = json.loads(answer)
        except ValueError:
            raise ApiError(status, answer) from None
        if status >= 400:
            raise ApiError(status, answer)
        return answer

    def get(self, path):
        return self._json("GET", path, None)

    def post(self, path, body):
        return self._json("POST", path, json.dumps(body))

    def status(self):
        return self.get("/v1/status")

    def try_status(self):
        """The status, or None while nobody answers."""
        try:
            return self.status()
        except (OSError, http.client.HTTPException, ApiError):
            return None


def dig(address, name, rtype="A", prefix=(), options=("+short",), seconds=2):
    """What `dig` prints for one query; `prefix` is for `ip netns exec NS`."""
    host, port = address.rsplit(":", 1)
    command = [*prefix, "dig", f"@{host.strip('[]')}", "-p", port, name, rtype, f"+time={seconds}", "+tries=1", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def scrape(text):
    """A Prometheus exposition as {name{labels}: value}."""
    values = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.rpartition(" ")
            values[key] = float(value)
    return values
