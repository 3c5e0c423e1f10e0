"""A snapshot as lines: split by size, and encoded once for all its readers. Pure.

A thousand readers that connect together get the same records. Each part is encoded, and packed, when the first reader
needs it, and all parts are kept until the last reader is done: a slow reader holds those that faster ones needed, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from registry_core.domain.catalog import Lived
from registry_core.domain.records import InstanceKey
from registry_core.watch.cursor import Cursor
from registry_core.watch.limits import MAX_RECORD_BYTES, PART_BYTES
from registry_core.watch.lines import encoded_record, snapshot_line
from registry_core.watch.packing import packed

_NOBODY: Final = b"[]"


class SharedSnapshot:
    """The instances of one moment, at `cursor`. `too_large` is called for each record that is too large to send."""

    def __init__(
        self,
        instances: tuple[Lived, ...],
        *,
        state: str,
        cursor: Cursor,
        digest: str,
        too_large: Callable[[InstanceKey, int], None],
        part_bytes: int = PART_BYTES,
        most_bytes: int = MAX_RECORD_BYTES,
    ) -> None:
        self.state = state
        self.cursor = cursor
        self._digest = digest
        self._arrays = _Arrays(instances, too_large, part_bytes, most_bytes)
        # By the number of the part and the reason: of a storm of readers nearly all have the same.
        self._lines: dict[tuple[int, str], bytes] = {}
        # Packed parts say no reason, so that they suit all readers: plain lines around them do. Their records are read
        # anew, since readers of this release need no others.
        self._arrays_to_pack = _Arrays(instances, too_large, part_bytes, most_bytes)
        self._packed: list[bytes] = []

    def lines(self, reason: str, *, is_packed: bool = False) -> Iterator[bytes]:
        """Return the lines for one reader, made lazily; `reason` says why it gets a snapshot."""
        return self._packed_lines(reason) if is_packed else self._plain_lines(reason)

    def _plain_lines(self, reason: str) -> Iterator[bytes]:
        number = 0
        while True:
            there = self._arrays.has(number)
            last = not there or not self._arrays.has(number + 1)
            line = self._lines.get((number, reason))
            if line is None:
                records = self._arrays.made[number] if there else _NOBODY
                line = self._lines[number, reason] = self._line(records, reason, first=number == 0, last=last)
            yield line
            if last:
                return
            number += 1

    def _packed_lines(self, reason: str) -> Iterator[bytes]:
        yield self._line(_NOBODY, reason, first=True)
        number = 0
        while number < len(self._packed) or self._pack():
            yield self._packed[number]
            number += 1
        yield self._line(_NOBODY, reason, last=True)

    def _pack(self) -> bool:
        """Encode and pack one more part; return False when there is nothing left."""
        records = self._arrays_to_pack.next()
        if records is not None:
            self._packed.append(packed(self._line(records, "")))
        return records is not None

    def _line(self, records: bytes, reason: str, *, first: bool = False, last: bool = False) -> bytes:
        return snapshot_line(
            records, reason=reason, first=first, last=last, state=self.state, cursor=self.cursor, digest=self._digest
        )


class _Arrays:
    """JSON arrays of encoded records, each of bounded size, made one after the other."""

    def __init__(
        self,
        instances: tuple[Lived, ...],
        too_large: Callable[[InstanceKey, int], None],
        part_bytes: int,
        most_bytes: int,
    ) -> None:
        self._instances = instances
        self._next = 0  # index of the first instance not encoded yet
        self._too_large = too_large
        self._part_bytes = part_bytes
        self._most_bytes = most_bytes
        self.made: list[bytes] = []  # those that `has` was asked for

    def has(self, number: int) -> bool:
        """Return whether there is an array of that number, at most the next one, and keep it."""
        if number == len(self.made):
            array = self.next()
            if array is not None:
                self.made.append(array)
        return number < len(self.made)

    def next(self) -> bytes | None:
        """Return one more array; None when there is nothing left."""
        records: list[bytes] = []
        size = 0
        while self._next < len(self._instances) and size < self._part_bytes:
            lived = self._instances[self._next]
            self._next += 1
            record = encoded_record(lived)
            if len(record) > self._most_bytes:
                self._too_large(lived.instance.key, len(record))
                continue
            records.append(record)
            size += len(record)
        if self._next == len(self._instances):
            self._instances, self._next = (), 0  # only the bytes are needed from now on
        return b"[" + b",".join(records) + b"]" if records else None
