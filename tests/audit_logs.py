"""Audit logs for tests: written by the product's own writer, without a replica."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from registry_core.security.audit.key import signer_in
from registry_core.security.audit.notes import NoteSigner
from registry_core.security.audit.writing import LogEnd, appended, opened

ORIGIN: Final = "vertice-audit/eu-1a"
LINES: Final = tuple(f'{{"time":"t","replica":"eu-1a","operation":"register","n":{n}}}'.encode() for n in range(40))


class WrittenLog:
    """A log in a folder, which grows by `write`."""

    def __init__(self, folder: Path, origin: str = ORIGIN) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.signer: NoteSigner = signer_in(folder, origin)
        log = opened(folder, self.signer)
        self._lock = log.lock
        self.end: LogEnd = log.end
        self.mended = log.mended

    def write(self, lines: Sequence[bytes], day: str = "20260101", *, segment_bytes: int = 1 << 20) -> WrittenLog:
        """Append lines as one batch."""
        self.end = appended(
            self.folder, self.signer, self.end, lines, day=day, segment_bytes=segment_bytes, syncs=False
        )
        return self

    def close(self) -> WrittenLog:
        """Let go of the folder."""
        os.close(self._lock)
        return self


def written(folder: Path, lines: Sequence[bytes] = LINES, origin: str = ORIGIN) -> WrittenLog:
    """Return a closed log of these lines, over three days."""
    log = WrittenLog(folder, origin)
    third = -(-len(lines) // 3)
    for day, at in enumerate(range(0, len(lines), third), 1):
        log.write(lines[at : at + third], f"202601{day:02d}")
    return log.close()


def segment_files(folder: Path) -> list[Path]:
    """Return the files with lines, the oldest first."""
    return sorted(folder.glob("*.jsonl"))
