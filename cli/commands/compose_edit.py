"""The shared parts of the commands that edit compose files: open, diff, replace, and report a failure in one line.

A file is replaced as a whole or not at all; the diff is unified and works with `patch`.
"""

from __future__ import annotations

import argparse
import codecs
import difflib
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from cli.compose.errors import ComposeError, Place
from cli.compose.file_replacement import Changed, OriginalFile, held, replace
from cli.compose.model import Project
from cli.compose.outline import NotEditable
from cli.compose.reader import MAX_FILE_BYTES, project_of, project_variables
from cli.exit_codes import FAILED, OK, USAGE, exit_codes
from cli.terminal import printable
from registry_core.causes import cause_of

EXIT_CODES: Final = exit_codes(
    done="done, or nothing to do",
    failed="done except for what was left out; or a file could not be written and is unchanged",
    usage="wrong usage, or an unusable file; nothing was written",
)


_Step: TypeAlias = tuple[str, int, int, int, int]


class Text(msgspec.Struct, frozen=True):
    """A compose file as text, with everything needed to write it back byte for byte."""

    name: str
    file: OriginalFile
    text: str
    mark: bytes = b""

    def bytes_of(self, text: str) -> bytes:
        """Return an edited text as bytes."""
        return self.mark + text.encode()


def opened(path: Path) -> Text:
    """Return the text of a compose file. Raises ComposeError when it cannot be read."""
    place = Place(str(path))
    try:
        file = held(path, MAX_FILE_BYTES)
    except OSError as error:
        raise ComposeError(cause_of(error), code="no-file", place=place) from None
    if file.data is None:
        raise ComposeError("there is no such file", code="no-file", place=place)
    mark = codecs.BOM_UTF8 if file.data.startswith(codecs.BOM_UTF8) else b""
    try:
        return Text(str(path), file, file.data[len(mark) :].decode(), mark)
    except UnicodeDecodeError as error:
        line = file.data.count(b"\n", 0, error.start) + 1
        raise ComposeError("it is not UTF-8 text", code="not-yaml", place=Place(str(path), line)) from None


def project_with(name: str, text: str, environment: Mapping[str, str]) -> Project:
    """Return the project of a file's text and of the files that it names. Raises ComposeError."""
    return project_of([(name, text.encode())], environment, _read)


def variables_with(name: str, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Return the variables with which Compose fills in a file: the environment's, and those of the `.env` beside it."""
    problems: list[ComposeError] = []
    return project_variables(str(Path(name).parent), environment, _read, problems.append)


def _read(path: str) -> bytes:
    data = held(Path(path), MAX_FILE_BYTES).data
    if data is None:
        raise FileNotFoundError(2, os.strerror(2))
    return data


def write(file: OriginalFile, data: bytes) -> bool:
    """Replace a file unless it has these bytes already; return whether it was written. Raises Changed, OSError."""
    if file.data == data:
        return False
    replace(file, data)
    return True


def difference(name: str, before: str, after: str) -> str:
    """Return an edit as a unified diff."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    if before == after:
        return ""
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False) if len(old) + len(new) < 2000 else None
    lines = [f"--- {printable(name)}\n", f"+++ {printable(name)}\n"]
    for group in matcher.get_grouped_opcodes() if matcher else _grouped(old, new):
        first, last = group[0], group[-1]
        lines.append(f"@@ -{_span(first[1], last[2])} +{_span(first[3], last[4])} @@\n")
        for tag, i, i_end, j, j_end in group:
            if tag == "equal":
                lines += (f" {line}" for line in old[i:i_end])
            else:
                lines += (f"-{line}" for line in old[i:i_end])
                lines += (f"+{line}" for line in new[j:j_end])
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _span(start: int, end: int) -> str:
    """Return a range of lines in unified diff notation: an empty range is given by the line before it."""
    length = end - start
    return f"{start + 1 if length else start},{length}" if length != 1 else str(start + 1)


def _grouped(old: list[str], new: list[str]) -> Iterable[list[_Step]]:
    """Return the steps from one text to another, in groups with three lines of context, in linear time.

    difflib takes minutes for thousands of services. Our edits only change lines in place, add lines or remove
    lines, so a single pass through both texts gives the same result.
    """
    steps = _steps(old, new)
    matcher = difflib.SequenceMatcher(None, old[:0], new[:0])
    matcher.opcodes = steps  # type: ignore[attr-defined]  # the cache that get_opcodes returns
    return matcher.get_grouped_opcodes()


def _steps(old: list[str], new: list[str]) -> list[_Step]:
    steps: list[_Step] = []
    i = j = 0
    while i < len(old) or j < len(new):
        start_i, start_j = i, j
        while i < len(old) and j < len(new) and old[i] == new[j]:
            i, j = i + 1, j + 1
        if (i, j) != (start_i, start_j):
            steps.append(("equal", start_i, i, start_j, j))
            continue
        more = len(new) - len(old)
        while (i < len(old) or j < len(new)) and not (i < len(old) and j < len(new) and old[i] == new[j]):
            if more > 0 and j < len(new):
                j += 1
            elif more < 0 and i < len(old):
                i += 1
            else:
                i, j = min(i + 1, len(old)), min(j + 1, len(new))
        tag = "insert" if i == start_i else "delete" if j == start_j else "replace"
        steps.append((tag, start_i, i, start_j, j))
    return steps


def told(work: Callable[[argparse.Namespace, Mapping[str, str]], int], arguments: argparse.Namespace) -> int:
    """Run a command's work and return its exit code; an error is one line on stderr."""
    try:
        return work(arguments, os.environ)
    except NotEditable as error:
        where = f"{arguments.file}:{error.line}" if error.line else str(arguments.file)
        print(f"vertice: {printable(where)}: {error.message}; nothing was written", file=sys.stderr)
        return USAGE
    except Changed as error:
        print(f"vertice: {printable(str(arguments.file))}: {error}", file=sys.stderr)
        return FAILED
    except ComposeError as error:
        print(f"vertice: {error.hinted}", file=sys.stderr)
        return USAGE
    except OSError as error:
        where = error.filename or arguments.file
        print(f"vertice: {printable(str(where))}: {cause_of(error)}; nothing was written", file=sys.stderr)
        return FAILED


def code_of(*, complete: bool) -> int:
    """Return the exit code of a command that did everything, or left something out."""
    return OK if complete else FAILED
