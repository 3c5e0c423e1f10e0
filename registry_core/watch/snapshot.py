"""A snapshot as lines: split by size, and encoded once for all its readers. Pure.

A thousand readers that connect together get the same records. Each part is encoded when the first reader needs it,
and all parts are kept until the last reader is done: a slow reader holds those that faster ones needed, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from registry_core.domain.catalog import Lived
from registry_core.domain.records import InstanceKey
from registry_core.watch.cursor import Cursor
from registry_core.watch.limits import MAX_RECORD_BYTES, PART_BYTES
from registry_core.watch.lines import encoded_record, snapshot_line


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
        self._too_large = too_large
        self._digest = digest
        self._instances = instances
        self._next = 0  # index of the first instance not encoded yet
        self._parts: list[bytes] = []
        # By the number of the part and the reason: of a storm of readers nearly all have the same.
        self._lines: dict[tuple[int, str], bytes] = {}
        self._part_bytes = part_bytes
        self._most_bytes = most_bytes

    def lines(self, reason: str) -> Iterator[bytes]:
        """Yield the lines for one reader, lazily; `reason` says why it gets a snapshot."""
        number = 0
        while True:
            there = number < len(self._parts) or self._encode()
            last = not there or (number + 1 == len(self._parts) and not self._encode())
            line = self._lines.get((number, reason))
            if line is None:
                line = self._lines[number, reason] = snapshot_line(
                    self._parts[number] if there else b"[]",
                    reason=reason,
                    first=number == 0,
                    last=last,
                    state=self.state,
                    cursor=self.cursor,
                    digest=self._digest,
                )
            yield line
            if last:
                return
            number += 1

    def _encode(self) -> bool:
        """Encode one more part; return False when there is nothing left."""
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
        if not records:
            return False
        self._parts.append(b"[" + b",".join(records) + b"]")
        return True
