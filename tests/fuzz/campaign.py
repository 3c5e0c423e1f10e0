"""Sends packets to a real agent, judges the answers, and watches whether the agent survives and how its memory grows.

Packets are sent in small batches, each followed by a valid query that must be answered. So any damage to the agent
shows at once, and one of a few packets caused it.
"""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from tests.fuzz.verdict import complaints, wants_silence
from tests.scenarios.judged import Judged, claim
from tests.wire.packets import GOOD

BATCH: Final = 32
# The timeout of an answer; the agent and the machine have other work too.
PATIENCE_S: Final = 10.0
# One batch in this many goes over TCP.
TCP_EVERY: Final = 20
# The agent's caches of ready answers are bounded: its memory grows until they are full, and then stays level. So the
# growth in the second half counts.
TENTHS: Final = 10


class Finding(NamedTuple):
    """Something that must not happen, and the packets sent before it; the last is the most likely cause."""

    complaint: str
    packets: tuple[bytes, ...]
    answer: bytes = b""

    def save(self, folder: Path, seed: int) -> Path:
        """Write the last packet to a file in the corpus folder, and return the file."""
        packet = self.packets[-1]
        path = folder / f"found-{hashlib.sha256(packet).hexdigest()[:12]}.hex"
        lines = [f"# {self.complaint} (seed {seed})", f"# answer: {self.answer.hex() or 'none'}", packet.hex()]
        path.write_text("\n".join(lines) + "\n", encoding="ascii")
        return path

    def __str__(self) -> str:
        sent = "\n  after ".join(packet.hex() for packet in reversed(self.packets))
        return f"{self.complaint}\n  sent  {sent}\n  got   {self.answer.hex() or 'nothing'}"


class Report(NamedTuple):
    """The result of a campaign."""

    sent: int
    answered: int
    lost: int  # datagrams that were answered only when sent again, alone
    connections: int
    resident_mb: tuple[float, ...]  # the agent's memory at the start, and after each tenth
    took_s: float
    findings: list[Finding]

    @property
    def grown_mb(self) -> float:
        """By how much the agent's memory grew in the second half."""
        return self.resident_mb[-1] - self.resident_mb[len(self.resident_mb) // 2]

    def __str__(self) -> str:
        memory = " ".join(f"{mb:.1f}" for mb in self.resident_mb)
        return (
            f"{self.sent} packets, {self.answered} answers, {self.lost} datagrams lost, {self.connections} connections "
            f"over TCP, {self.took_s:.0f} s; {len(self.findings)} findings; the agent's memory in MB: {memory}"
        )


def settle(system: Judged) -> None:
    """Register the services that the packets query."""
    both = ["10.0.0.1", "2001:db8::1"]
    system.register(
        claim("ip_intel", "10.0.0.1", addresses=both, tags=["canary"], metadata={"team": "osint"}, version="1.4.2"),
        claim("ip_intel", "10.0.0.2", weight=7),
        claim("syslog", "10.0.0.3", protocol="udp"),
        *(claim("large", f"10.1.0.{number}") for number in range(1, 201)),
    )


class Campaign:
    """One agent under fire. Stops at `most` findings, since more of the same do not help."""

    def __init__(self, port: int, pid: int, most: int = 20) -> None:
        self._at = ("127.0.0.1", port)
        self._agent = psutil.Process(pid)
        self._most = most
        self.findings: list[Finding] = []
        self._answered = self._lost = self._connections = 0

    def run(self, packets: Iterable[bytes], count: int) -> Report:
        """Send `count` packets, and return the report."""
        began = time.monotonic()
        sent = 0
        resident_mb = [self._resident_mb()]
        rest = iter(packets)
        with socket.socket(type=socket.SOCK_DGRAM) as udp:
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            udp.connect(self._at)
            for number, batch in enumerate(iter(lambda: tuple(islice(rest, BATCH)), ()), 1):
                numbered = [_with_id(packet, sent + at) for at, packet in enumerate(batch)]
                sent += len(batch)
                good = _with_id(GOOD, sent)
                try:
                    if number % TCP_EVERY:
                        self._by_datagrams(udp, numbered, good)
                    else:
                        self._by_connection(numbered, good)
                except OSError as error:
                    self.findings.append(Finding(f"the agent's port is closed ({error})", tuple(numbered)))
                if not self._agent.is_running() or self._agent.status() == psutil.STATUS_ZOMBIE:
                    self.findings.append(Finding("the agent has died", tuple(numbered)))
                    break
                if len(self.findings) >= self._most:
                    break
                if sent * TENTHS >= count * len(resident_mb):
                    resident_mb.append(self._resident_mb())
        return Report(
            sent,
            self._answered,
            self._lost,
            self._connections,
            tuple(resident_mb),
            time.monotonic() - began,
            self.findings,
        )

    def _resident_mb(self) -> float:
        return float(self._agent.memory_info().rss) / 1e6

    # -- UDP

    def _by_datagrams(self, udp: socket.socket, packets: list[bytes], good: bytes) -> None:
        answers = self._exchange(udp, packets, good)
        for packet in packets:
            of_it = answers.get(packet[:2], [])
            if not of_it and not wants_silence(packet):
                # UDP may lose a datagram. One that stays unanswered when sent alone is a finding.
                of_it = self._exchange(udp, [packet], good).get(packet[:2], [])
                self._lost += bool(of_it)
                if not of_it:
                    self.findings.append(Finding("it is not answered", (packet,)))
            if len(of_it) > 1:
                self.findings.append(Finding("it is answered twice", (packet,), of_it[1]))
            for answer in of_it:
                self._judge(packet, answer, over_tcp=False)

    def _exchange(self, udp: socket.socket, packets: list[bytes], good: bytes) -> dict[bytes, list[bytes]]:
        """Send packets and a valid query; return the answers by their id. Raises OSError when the port is closed."""
        for packet in (*packets, good):
            udp.send(packet)
        wanted = {packet[:2] for packet in packets if not wants_silence(packet)} | {good[:2]}
        answers: dict[bytes, list[bytes]] = {}
        udp.settimeout(PATIENCE_S)
        try:
            while not wanted <= answers.keys():
                answer = udp.recv(65535)
                answers.setdefault(answer[:2], []).append(answer)
                if good[:2] in answers:
                    udp.settimeout(1.0)  # earlier answers are on their way, or lost
        except TimeoutError:
            if good[:2] not in answers:
                self.findings.append(Finding("the valid query after it is not answered", tuple(packets)))
        for answer in answers.pop(good[:2], []):
            self._judge(good, answer, over_tcp=False)
        return answers

    # -- TCP

    def _by_connection(self, packets: list[bytes], good: bytes) -> None:
        """Send packets on a few connections, each with its own oddity, and a valid query on another."""
        for at in range(0, len(packets), 8):
            some = packets[at : at + 8]
            framed = b"".join(_framed(packet) for packet in some)
            match int.from_bytes(some[0][:2]) >> 3 & 7:
                case 0:  # in small pieces
                    self._converse([framed[i : i + 7] for i in range(0, len(framed), 7)][:200], some)
                case 1:  # cut off in the middle of a message
                    self._converse([framed[:-1]], some)
                case 2:  # a large message that never arrives
                    self._converse([framed, b"\xff\xff" + some[0][:100]], some)
                case 3:  # messages of no length, and of one octet
                    self._converse([b"\0\0", framed, b"\0\1\0"], some)
                case 4:  # no message framing at all
                    self._converse(list(some), [])
                case _:
                    self._converse([framed], some)
        if good[:2] not in self._converse([_framed(good)], [good]):
            self.findings.append(Finding("the valid query after it is not answered over TCP", tuple(packets)))

    def _converse(self, pieces: Iterable[bytes], packets: list[bytes]) -> set[bytes]:
        """Write the pieces on a new connection; judge the answers; return the ids that were answered."""
        self._connections += 1
        heard = b""
        with socket.create_connection(self._at, timeout=PATIENCE_S) as tcp:
            tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                for piece in pieces:
                    tcp.sendall(piece)
                tcp.shutdown(socket.SHUT_WR)
                while more := tcp.recv(65535):
                    heard += more
            except TimeoutError:
                self.findings.append(Finding("the connection is left open", tuple(packets)))
            except OSError:
                pass  # the agent may hang up on a client that sends nonsense
        asked = {packet[:2]: packet for packet in packets}
        answers = list(_messages(heard))
        for answer in answers:
            packet = asked.get(answer[:2])
            if packet is not None:
                self._judge(packet, answer, over_tcp=True)
        return {answer[:2] for answer in answers}

    def _judge(self, packet: bytes, answer: bytes, *, over_tcp: bool) -> None:
        self._answered += 1
        for complaint in complaints(packet, answer, over_tcp=over_tcp):
            self.findings.append(Finding(complaint + (" (over TCP)" if over_tcp else ""), (packet,), answer))


def _with_id(packet: bytes, number: int) -> bytes:
    return (number & 0xFFFF).to_bytes(2) + packet[2:] if len(packet) >= 2 else packet


def _framed(packet: bytes) -> bytes:
    return len(packet).to_bytes(2) + packet


def _messages(heard: bytes) -> Iterator[bytes]:
    """Yield the complete messages of a stream."""
    at = 0
    while at + 2 <= len(heard):
        end = at + 2 + int.from_bytes(heard[at : at + 2])
        if end > len(heard):
            return
        yield heard[at + 2 : end]
        at = end
