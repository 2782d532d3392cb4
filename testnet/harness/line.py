#!/usr/bin/env python3
"""A slow, lossy switch in user space: between the given interfaces, every frame takes a while, and some vanish.

Runs in the namespace that holds the interfaces, in place of a bridge, until it is killed. What tc netem does for kernels
that have it, and with a seed: the same frames are lost in runs with the same traffic. A few thousand frames a second.
"""

import argparse
import heapq
import random
import select
import socket
import time

EVERYTHING = 0x0003  # ETH_P_ALL
OUTGOING = 4  # PACKET_OUTGOING: what this program itself has sent
FRAME = 65_536


class Switch:
    """Learns which address is where, as a bridge does."""

    def __init__(self, interfaces, delay, loss, seed):
        self.ports = [self._open(interface) for interface in interfaces]
        self.delay, self.loss, self.random = delay, loss, random.Random(seed)
        self.places, self.waiting, self.number = {}, [], 0

    @staticmethod
    def _open(interface):
        port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERYTHING))
        port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        port.bind((interface, EVERYTHING))
        port.setblocking(False)
        return port

    def run(self):
        poll = select.poll()
        by_descriptor = {port.fileno(): port for port in self.ports}
        for descriptor in by_descriptor:
            poll.register(descriptor, select.POLLIN)
        while True:
            pause = max(0, self.waiting[0][0] - time.monotonic()) * 1_000 if self.waiting else None
            for descriptor, _ in poll.poll(pause):
                self._take(by_descriptor[descriptor])
            self._deliver(time.monotonic())

    def _take(self, port):
        for _ in range(64):
            try:
                frame, (_, _, kind, _, _) = port.recvfrom(FRAME)
            except BlockingIOError:
                return
            if kind == OUTGOING:
                continue
            self.places[frame[6:12]] = port
            if self.random.random() >= self.loss:
                self.number += 1
                heapq.heappush(self.waiting, (time.monotonic() + self.delay, self.number, port, frame))

    def _deliver(self, now):
        while self.waiting and self.waiting[0][0] <= now:
            _, _, source, frame = heapq.heappop(self.waiting)
            known = self.places.get(frame[0:6])
            for port in [known] if known else [port for port in self.ports if port is not source]:
                try:
                    port.send(frame)
                except OSError:
                    pass  # The interface went down, or its queue is full: the frame is lost, as frames are.


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("interfaces", nargs="+", help="interfaces to join")
    arguments.add_argument("--delay-ms", type=float, default=100, help="how long a frame takes (default %(default)s)")
    arguments.add_argument("--loss-percent", type=float, default=5, help="frames that vanish (default %(default)s)")
    arguments.add_argument("--seed", type=int, default=1, help="which of them (default %(default)s)")
    given = arguments.parse_args()
    Switch(given.interfaces, given.delay_ms / 1_000, given.loss_percent / 100, given.seed).run()


main()
