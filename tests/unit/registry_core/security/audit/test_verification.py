"""An altered log is found out: by the stored hashes, by the head, or by an older head that somebody kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from registry_core.ports.audit import AuditEntry
from registry_core.security.audit.folder import TreeFile, lines_from, segments_in
from registry_core.security.audit.heads import SignedHead
from registry_core.security.audit.lines import REMOVED, about_log, line_of
from registry_core.security.audit.merkle import Frontier
from registry_core.security.audit.reading import consistency_in, frontier_at
from registry_core.security.audit.verification import CheckedLog, check_continues, check_lines, check_signature
from tests.audit_logs import LINES, WrittenLog, segment_files, written


def checked(folder: Path, head: SignedHead, *, by_root_alone: bool = False) -> CheckedLog:
    segments = segments_in(folder)
    first = segments[0].first if segments else 0
    with TreeFile(folder) as tree:
        stored = None if by_root_alone else tree.read
        return check_lines(
            lines_from(folder, first), first, Frontier(first, frontier_at(folder, first)), head.head, stored
        )


def edit(folder: Path, change: Callable[[list[bytes]], list[bytes]], segment: int = 1) -> None:
    """Change the lines of a segment, as somebody with an editor would."""
    path = segment_files(folder)[segment]
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


def flip(lines: list[bytes]) -> list[bytes]:
    return [bytes([lines[0][0] ^ 1]) + lines[0][1:], *lines[1:]]


def swap(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def drop(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], *lines[4:]]


def test_a_log_as_it_was_written_has_no_faults(tmp_path: Path) -> None:
    log = written(tmp_path)
    assert checked(tmp_path, log.end.head) == CheckedLog(0, 40, ())
    assert checked(tmp_path, log.end.head, by_root_alone=True) == CheckedLog(0, 40, ())


def test_an_empty_log_has_no_faults(tmp_path: Path) -> None:
    log = WrittenLog(tmp_path).close()
    assert checked(tmp_path, log.end.head) == CheckedLog(0, 0, ())


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        (flip, ["line 14 is not the one"]),
        (swap, ["line 15 is not the one", "line 16 is not the one"]),
        (drop, [*(f"line {n} is not the one" for n in range(17, 27)), "lines 27 to 27 are missing"]),
    ],
)
def test_an_altered_line_is_named(
    tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], faults: list[str]
) -> None:
    log = written(tmp_path)
    edit(tmp_path, change)
    found = checked(tmp_path, log.end.head).faults
    assert len(found) == len(faults)
    assert all(one.startswith(expected) for one, expected in zip(found, faults, strict=True)), found


@pytest.mark.parametrize("change", [flip, swap, drop])
@pytest.mark.parametrize("segment", [0, 1, 2])
def test_without_stored_hashes_the_root_tells(
    tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], segment: int
) -> None:
    log = written(tmp_path)
    edit(tmp_path, change, segment)
    assert checked(tmp_path, log.end.head, by_root_alone=True).faults


@pytest.mark.parametrize("position", [2, 6, 30, 66])
def test_a_stored_hash_that_was_altered_is_noticed_though_no_line_was(tmp_path: Path, position: int) -> None:
    log = written(tmp_path)
    content = bytearray((tmp_path / "tree").read_bytes())
    content[position * 32] ^= 1
    (tmp_path / "tree").write_bytes(content)
    (fault,) = checked(tmp_path, log.end.head).faults
    assert fault.startswith(("the stored hashes of the lines up to", "line "))


def test_lines_whose_hashes_are_about_to_be_written_are_no_fault(tmp_path: Path) -> None:
    log = WrittenLog(tmp_path).write(LINES[:9])
    with segment_files(tmp_path)[-1].open("ab") as file:
        file.write(LINES[9] + b"\n")
    assert checked(tmp_path, log.close().end.head) == CheckedLog(0, 10, ())


def test_a_log_that_was_cut_short_says_which_lines_are_missing(tmp_path: Path) -> None:
    log = written(tmp_path)
    edit(tmp_path, lambda lines: lines[:-3], 2)
    end = len(LINES) - 3
    assert checked(tmp_path, log.end.head).faults[-1] == f"lines {end} to 39 are missing"


def test_a_half_line_at_the_end_is_none(tmp_path: Path) -> None:
    log = written(tmp_path)
    path = segment_files(tmp_path)[-1]
    path.write_bytes(path.read_bytes()[:-4])
    assert checked(tmp_path, log.end.head).faults == ("lines 39 to 39 are missing",)


def test_a_segment_that_is_gone_from_the_middle_is_named(tmp_path: Path) -> None:
    log = written(tmp_path)
    segment_files(tmp_path)[1].unlink()
    assert checked(tmp_path, log.end.head).faults == ("lines 14 to 27 are missing",)
    assert checked(tmp_path, log.end.head, by_root_alone=True).faults[0] == "lines 14 to 27 are missing"


def test_a_first_segment_that_is_gone_must_have_been_removed_in_time(tmp_path: Path) -> None:
    log = WrittenLog(tmp_path).write(LINES[:13], "20260101").write(LINES[13:26], "20260102")
    log.write([line_of(about_log(REMOVED, 0.0, "lines 0 to 12, of 20260101"), "eu-1a")], "20260401")
    segment_files(tmp_path)[0].unlink()
    assert checked(tmp_path, log.end.head) == CheckedLog(13, 27, ())
    assert checked(tmp_path, log.end.head, by_root_alone=True) == CheckedLog(13, 27, ())
    segment_files(tmp_path)[0].unlink()
    gone = "lines 0 to 25 are gone, and no line says that they were removed in time"
    assert checked(tmp_path, log.close().end.head).faults == (gone,)


def test_a_request_cannot_pass_for_the_removal_of_lines(tmp_path: Path) -> None:
    entry = AuditEntry(
        time=0.0, operation="register", status=400, result="ValidationError", service="audit-removed",
        reason='"operation":"audit-removed" lines 0 to 12, of 20260101',
    )  # fmt: skip
    log = WrittenLog(tmp_path).write(LINES[:13], "20260101").write([line_of(entry, "eu-1a")], "20260102").close()
    segment_files(tmp_path)[0].unlink()
    assert "no line says" in checked(tmp_path, log.end.head).faults[0]


def test_lines_behind_the_head_are_not_vouched_for(tmp_path: Path) -> None:
    log = WrittenLog(tmp_path).write(LINES[:9])
    head = log.end.head
    log.write(LINES[9:]).close()
    assert checked(tmp_path, head) == CheckedLog(0, 40, ())


def proof(folder: Path) -> Callable[[int, int], tuple[bytes, ...]]:
    return lambda first, second: consistency_in(folder, first, second)


def test_a_log_rewritten_with_hashes_and_head_contradicts_an_old_head(tmp_path: Path) -> None:
    log = WrittenLog(tmp_path / "a").write(LINES[:20])
    old = log.end.head
    log.write(LINES[20:]).close()
    assert list(check_continues(old, log.end.head, proof(log.folder))) == []
    # A thief of the machine has the key as well.
    forged = WrittenLog(tmp_path / "b")
    forged.signer = log.signer
    forged.write([*LINES[:7], b'{"nothing":"happened"}', *LINES[8:]]).close()
    assert checked(forged.folder, forged.end.head) == CheckedLog(0, 40, ())
    assert list(check_signature(forged.end.head, log.signer.verifier)) == []
    (fault,) = check_continues(old, forged.end.head, proof(forged.folder))
    assert "does not continue that of 20" in fault


def test_a_log_that_was_rolled_back_contradicts_an_old_head(tmp_path: Path) -> None:
    log = WrittenLog(tmp_path).write(LINES[:20])
    earlier = log.end.head
    log.write(LINES[20:]).close()
    (fault,) = check_continues(log.end.head, earlier, proof(tmp_path))
    assert fault == "the log went back: it had 40 lines, and now has 20"


def test_heads_of_other_logs_and_keys_are_told_apart(tmp_path: Path) -> None:
    log, other = written(tmp_path / "a"), written(tmp_path / "b", origin="vertice-audit/eu-1b")
    (fault,) = check_continues(other.end.head, log.end.head, proof(log.folder))
    assert "is of vertice-audit/eu-1b" in fault
    (fault,) = check_signature(other.end.head, log.signer.verifier)
    assert "the key of vertice-audit/eu-1a" in fault
    third = written(tmp_path / "c")
    (fault,) = check_signature(third.end.head, log.signer.verifier)
    assert "is not signed by" in fault


def test_the_lines_of_the_tests_are_json() -> None:
    assert all(json.loads(line) for line in LINES)
