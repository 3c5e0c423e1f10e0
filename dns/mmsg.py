"""recvmmsg(2) and sendmmsg(2): many datagrams per system call, which Python's sockets do not offer.

The structures of the calls are laid out once, over buffers that live as long as their owner, and are read
and written by the column: all lengths, all addresses, all answers. All it knows about a datagram's contents
is that the first two octets (the id) go back unchanged: the kernel sends them from where it received them. So it does
with the address that was asked, where a socket has several: the control message of the query is that of the answer.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol, TypeAlias

from dns.reply_source import NO_SOURCE, Ancillary, ReplySource

ID: Final = 2
# The part of a datagram after its id that lies in the look-up buffer. Questions are mostly shorter than
# 100 octets; the rest of a longer one is received into a separate buffer.
HEAD: Final = 254
# MSG_DONTWAIT, and MSG_TRUNC: the length returned is the true one even when the datagram was truncated.
_RECEIVE_FLAGS: Final = ctypes.c_int(0x40 | 0x20)
_WAITING_FLAGS: Final = ctypes.c_int(0x20)
_SEND_FLAGS: Final = ctypes.c_int(0x40)
_NAME: Final = 32  # room for a sockaddr_in6 (28 octets), in whole words
_NAME_LENGTHS: Final = {socket.AF_INET: 16, socket.AF_INET6: 28}
# Where in a sockaddr its IP address lies, in octets, and in 32-bit words.
_ADDRESSES: Final = {socket.AF_INET: (4, 8), socket.AF_INET6: (8, 24)}
_ADDRESS_WORDS: Final = {socket.AF_INET: range(1, 2), socket.AF_INET6: range(2, 6)}
_FULL: Final = (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM)
_PLACE: Final = struct.Struct("PP")  # struct iovec: address and length
PLACE: Final = _PLACE.size

Source: TypeAlias = int | tuple[int, ...]
"""An IP address as the word or words of its sockaddr: the key under which an access check is remembered."""


class _MessageHeader(ctypes.Structure):
    """`struct msghdr`."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("places", ctypes.c_void_p),
        ("places_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """`struct mmsghdr`."""

    _fields_ = (("header", _MessageHeader), ("length", ctypes.c_uint))


_MESSAGE: Final = ctypes.sizeof(_Message)


class Calls(Protocol):
    """The two system calls. Each returns how many datagrams it moved, or -1 and leaves `errno`."""

    def receive(self, fd: ctypes.c_int, messages: ctypes.c_void_p, count: ctypes.c_uint) -> int: ...

    def send(self, fd: ctypes.c_int, messages: ctypes.c_void_p, count: ctypes.c_uint) -> int: ...

    def waiting(self, fd: ctypes.c_int, message: ctypes.c_void_p) -> Callable[[], int]:
        """Return a call that waits for a datagram, as long as the socket does, and returns its length, or -1.

        It releases the interpreter's lock while it waits.
        """
        ...

    def sending(self, fd: ctypes.c_int, message: ctypes.c_void_p) -> Callable[[], int]:
        """Return a call that sends one datagram, and returns -1 when it could not."""
        ...

    def errno(self) -> int: ...


class SystemCalls:
    """The calls of the C library. Raises OSError where it has none."""

    def __init__(self) -> None:
        # PyDLL keeps the GIL during the call. The calls never block, and a busy thread returns a released GIL
        # only after 5 ms: 100 times the call's own time, for each call.
        try:
            library = ctypes.PyDLL(None, use_errno=True)
            self._receive, self._send = library.recvmmsg, library.sendmmsg
            # recvmsg and sendmsg take what a `struct mmsghdr` begins with. Nobody asks for their `errno`: keeping it
            # for each thread would cost a third of such a call.
            self._wait, self._send_one = ctypes.CDLL(None).recvmsg, ctypes.PyDLL(None).sendmsg
        except (AttributeError, OSError, TypeError):
            raise OSError(None, "this system has no recvmmsg and sendmmsg") from None

    # The arguments are existing C objects: converting numbers takes 0.4 us, half of an idle call.

    def receive(self, fd: ctypes.c_int, messages: ctypes.c_void_p, count: ctypes.c_uint) -> int:
        moved: int = self._receive(fd, messages, count, _RECEIVE_FLAGS, None)
        return moved

    def send(self, fd: ctypes.c_int, messages: ctypes.c_void_p, count: ctypes.c_uint) -> int:
        moved: int = self._send(fd, messages, count, _SEND_FLAGS)
        return moved

    def waiting(self, fd: ctypes.c_int, message: ctypes.c_void_p) -> Callable[[], int]:
        return partial(self._wait, fd, message, _WAITING_FLAGS)

    def sending(self, fd: ctypes.c_int, message: ctypes.c_void_p) -> Callable[[], int]:
        return partial(self._send_one, fd, message, _SEND_FLAGS)

    def errno(self) -> int:
        return ctypes.get_errno()


def system_calls(listening: socket.socket) -> SystemCalls | None:
    """Return the calls if they work on `listening`, else None: a different system, or a sandbox that forbids them."""
    if sys.platform != "linux" or sys.implementation.name != "cpython" or listening.family not in _NAME_LENGTHS:
        return None
    try:
        calls = SystemCalls()
    except OSError:
        return None
    # With no datagrams to move, the result is 0 unless the call is missing.
    nothing = _Message()
    to_nothing = ctypes.c_int(listening.fileno()), ctypes.c_void_p(ctypes.addressof(nothing)), ctypes.c_uint(0)
    return calls if calls.receive(*to_nothing) == 0 and calls.send(*to_nothing) == 0 else None


def _reader_of_addresses() -> Callable[[bytes], int | None]:
    try:
        address = ctypes.pythonapi.PyBytes_AsString
    except AttributeError:
        return lambda _: None
    address.argtypes, address.restype = (ctypes.py_object,), ctypes.c_void_p
    return address


_address_of: Final = _reader_of_addresses()


def place_of(answer: bytes) -> bytes:
    """Return the location of `answer` in memory, as an iovec. It is valid while the object is alive."""
    return _PLACE.pack(_address_of(answer) or 0, len(answer))


class First(NamedTuple):
    """The parts of a batch's first slot, for who moves one datagram at a time.

    They are raw, since each call of a Python function costs about a microsecond when the processor has done other
    things meanwhile: a third of what an answer costs besides the kernel's part.
    """

    wait: Callable[[], int]
    """Waits for a datagram, as long as the socket does; returns its length, or -1 when there is none."""
    send: Callable[[], int]
    """Sends the answer; returns -1 when it could not."""
    head: memoryview  # the datagram after its id
    address: memoryview  # of its sender
    place: memoryview  # of the answer, as `place_of` returns it
    interface: memoryview | None  # to be set to zero before the answer is sent, where there is one


class Batch:
    """Room for `size` datagrams of one socket, and their answers.

    `receive` fills the slots from 0 on, `answer` sets the answers, and `send` sends them, without copying, to
    the sources of the queries.
    """

    def __init__(
        self, calls: Calls, listening: socket.socket, source: ReplySource | None, *, size: int, most: int
    ) -> None:
        """Keeps `most` octets of a datagram; of a longer one, only the length is valid."""
        self._calls = calls
        self._family = socket.AddressFamily(listening.family)
        self._fd = ctypes.c_int(listening.fileno())
        self._tail = most - ID - HEAD
        self.size = size
        self._ids, self._heads, self._tails = bytearray(size * ID), bytearray(size * HEAD), bytearray(size * self._tail)
        self._names = bytearray(size * _NAME)
        self._source = source
        self._control_size = socket.CMSG_SPACE(source.size) if source is not None else 0
        self._controls = bytearray(size * self._control_size)
        self._into, self._from = bytearray(size * 3 * PLACE), bytearray(size * 2 * PLACE)
        self._received, self._sending = bytearray(size * _MESSAGE), bytearray(size * _MESSAGE)
        self._lay_out()
        lengths = memoryview(self._received).cast("I")
        self._lengths = lengths[_Message.length.offset // 4 :: _MESSAGE // 4]
        words = memoryview(self._names).cast("I")
        self._words = [words[n :: _NAME // 4] for n in _ADDRESS_WORDS[self._family]]
        # Every other iovec is an answer's: one word is its address, one its length.
        places = memoryview(self._from).cast("P")
        self._where, self._how_long = places[2::4], places[3::4]
        self._head_view = memoryview(self._heads)
        # A view that is empty when no control messages are received.
        interface = (socket.CMSG_LEN(0) + source.interface) // 4 if source is not None else 0
        self._interfaces = memoryview(self._controls).cast("I")[interface :: max(1, self._control_size // 4)]
        self._no_interfaces = memoryview(bytes(4 * size)).cast("I")
        # A key starts at the slot's start, and is as long as the datagram less its id.
        self._starts = [n * HEAD for n in range(size)]
        self._ends = [start - ID for start in self._starts]
        sending = _address(self._sending)
        self._received_at = ctypes.c_void_p(_address(self._received))
        self._sending_at = [ctypes.c_void_p(sending + n * _MESSAGE) for n in range(size)]
        self._counts = [ctypes.c_uint(n) for n in range(size + 1)]

    def _lay_out(self) -> None:
        ids, heads, tails, names = map(_address, (self._ids, self._heads, self._tails, self._names))
        into, from_ = _address(self._into), _address(self._from)
        controls = _address(self._controls) if self._controls else 0
        for n in range(self.size):
            id_ = _PLACE.pack(ids + n * ID, ID)
            head = _PLACE.pack(heads + n * HEAD, HEAD)
            tail = _PLACE.pack(tails + n * self._tail, self._tail)
            self._into[n * 3 * PLACE : (n + 1) * 3 * PLACE] = id_ + head + tail
            self._from[n * 2 * PLACE : (n + 1) * 2 * PLACE] = id_ + bytes(PLACE)
            for messages, places, count in ((self._received, into, 3), (self._sending, from_, 2)):
                header = _Message.from_buffer(messages, n * _MESSAGE).header
                header.name, header.name_length = names + n * _NAME, _NAME_LENGTHS[self._family]
                header.places, header.places_count = places + n * count * PLACE, count
                if self._control_size:
                    header.control, header.control_length = controls + n * self._control_size, self._control_size

    def receive(self, most: int) -> list[int]:
        """Receive the datagrams that have arrived, at most `most`, without waiting; return the length of each.

        The list may be empty. An ICMP error for an earlier answer counts as nothing received.
        """
        count = self._calls.receive(self._fd, self._received_at, self._counts[most])
        if count <= 0:
            return []
        if self._source is not None:
            # The answer takes the route to its client, which may lead through another interface.
            self._interfaces[:count] = self._no_interfaces[:count]
        return self._lengths[:count].tolist()

    def first(self) -> First:
        """Return the parts of the first slot."""
        at, end = _ADDRESSES[self._family]
        return First(
            wait=self._calls.waiting(self._fd, self._received_at),
            send=self._calls.sending(self._fd, self._sending_at[0]),
            head=self._head_view,
            address=memoryview(self._names)[at:end],
            place=memoryview(self._from)[PLACE : 2 * PLACE],
            interface=self._interfaces[:1] if self._source is not None else None,
        )

    def sources(self, count: int) -> Sequence[Source]:
        """Return the source addresses of the first `count` datagrams."""
        columns = [words[:count].tolist() for words in self._words]
        return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))

    def host(self, slot: int) -> str:
        """Return a datagram's source address as text."""
        at, end = _ADDRESSES[self._family]
        return socket.inet_ntop(self._family, self._names[slot * _NAME + at : slot * _NAME + end])

    def port(self, slot: int) -> int:
        """Return a datagram's source port."""
        return int.from_bytes(self._names[slot * _NAME + 2 : slot * _NAME + 4])

    def asker(self, slot: int) -> tuple[str, int] | tuple[str, int, int, int]:
        """Return a datagram's source in the form that `sendto` takes."""
        at, host, port = slot * _NAME, self.host(slot), self.port(slot)
        if self._family == socket.AF_INET:
            return host, port
        # Link-local addresses need their interface.
        return host, port, 0, int.from_bytes(self._names[at + 24 : at + 28], sys.byteorder)

    def reply_from(self, slot: int) -> Ancillary:
        """Return where the answer to a datagram is to leave from, in the form that `sendmsg` takes."""
        if self._source is None:
            return NO_SOURCE
        at = slot * self._control_size + socket.CMSG_LEN(0)
        data = bytes(self._controls[at : at + self._source.size])
        return ((self._source.level, self._source.kind, data),)

    def keys(self, lengths: Sequence[int]) -> list[bytes]:
        """Return the part after the id of each datagram. None of `lengths` is above ID + HEAD."""
        # One copy of all, from which bytes are sliced: cheaper than a view and a copy of each.
        heads = self._head_view[: len(lengths) * HEAD].tobytes()
        slots = zip(self._starts, self._ends, lengths)  # noqa: B905 - as many as there are lengths
        return [heads[start : end + length] for start, end, length in slots]

    def datagram(self, slot: int, length: int) -> bytes:
        """Return one datagram, or the part of it that was kept."""
        id_ = self._ids[slot * ID : (slot + 1) * ID]
        head = self._heads[slot * HEAD : (slot + 1) * HEAD]
        tail = self._tails[slot * self._tail : (slot + 1) * self._tail] if length > ID + HEAD else b""
        return bytes(id_ + head + tail)[:length]

    def answer(self, places: bytes) -> None:
        """Set the answers of the slots from 0 on to `places`, each to be sent after the slot's id."""
        words = memoryview(places).cast("P")
        count = len(words) // 2
        self._where[:count], self._how_long[:count] = words[::2], words[1::2]

    def send(self, first: int, end: int) -> int:
        """Send the answers of the slots from `first` up to `end`; return how many could not be sent.

        The objects to which the places point must be alive.
        """
        lost = 0
        while first < end:
            sent = self._calls.send(self._fd, self._sending_at[first], self._counts[end - first])
            if sent > 0:
                first += sent
            elif self._calls.errno() in _FULL:
                return lost + end - first  # the socket's buffer is full; the clients will retry
            else:
                # This one cannot be sent (port 0, an address without a route); the next one may.
                first += 1
                lost += 1
        return lost


def _address(memory: bytearray) -> int:
    """Return the address of `memory`. It does not move: nothing here resizes the buffers."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))
