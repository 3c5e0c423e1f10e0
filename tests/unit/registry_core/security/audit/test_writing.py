"""A log on disk: how it is continued, what a crash leaves, and what it refuses to continue."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from registry_core.security.audit.folder import BrokenLog, head_in, lines_from, segments_in
from registry_core.security.audit.heads import signed_head
from registry_core.security.audit.reading import page_of
from registry_core.security.audit.writing import due_for_removal, keep_head
from tests.audit_logs import LINES, WrittenLog, segment_files, written


def content(folder: Path, start: int = 0) -> list[tuple[int, bytes]]:
    return [(number, line) for number, line in lines_from(folder, start)]


def numbered(lines: tuple[bytes, ...], start: int = 0) -> list[tuple[int, bytes]]:
    return list(enumerate(lines, start))


def test_a_log_is_continued_where_it_ended(tmp_path: Path) -> None:
    written(tmp_path, LINES[:9])
    log = WrittenLog(tmp_path)
    assert log.mended == ()
    log.write(LINES[9:]).close()
    assert content(tmp_path) == numbered(LINES)
    assert log.end.head == WrittenLog(tmp_path).end.head
    assert log.end.head.head.root == written(tmp_path / "other").end.head.head.root, "batches do not matter"


def test_a_segment_ends_with_its_day_and_with_its_size(tmp_path: Path) -> None:
    log = WrittenLog(tmp_path)
    for day in ("20260101", "20260101", "20260102"):
        for at in range(0, 6, 2):
            log.write(LINES[at : at + 2], day, segment_bytes=len(LINES[0]) * 5)
    log.close()
    assert [one.name for one in segments_in(tmp_path)] == [
        "000000000000000-20260101.jsonl",
        "000000000000006-20260101.jsonl",
        "000000000000012-20260102.jsonl",
    ]
    assert content(tmp_path, 11) == [(11, LINES[5]), *numbered(LINES[:6], 12)]
    assert [one.behind for one in due_for_removal(tmp_path, "20260102")] == [6, 12]
    assert [one.behind for one in due_for_removal(tmp_path, "20270101")] == [6, 12], "the last one stays"


def test_pages_begin_with_the_first_line_that_is_there_and_have_a_bound(tmp_path: Path) -> None:
    written(tmp_path)
    segment_files(tmp_path)[0].unlink()
    page = page_of(tmp_path, 0, 5, 40)
    assert (page.first, page.lines) == (14, LINES[14:19])
    assert page_of(tmp_path, 38, 5, 39).lines == LINES[38:39], "not what has no head yet"
    assert page_of(tmp_path, 40, 5, 40).lines == ()
    assert page_of(tmp_path, 99, 5, 40).first == 40


def test_a_half_written_line_is_cut_off_and_that_is_said(tmp_path: Path) -> None:
    written(tmp_path, LINES[:9])
    with segment_files(tmp_path)[-1].open("ab") as file:
        file.write(LINES[9] + b"\n" + LINES[10][:7])
    log = WrittenLog(tmp_path)
    assert log.mended == (
        "7 bytes of a half-written line 10 were removed",
        "the hashes of lines 9 to 9 were missing and were made again",
    )
    log.write(LINES[10:]).close()
    assert content(tmp_path) == numbered(LINES)
    assert log.end.head.head.root == written(tmp_path / "other").end.head.head.root


def test_hashes_that_a_crash_left_behind_are_made_again(tmp_path: Path) -> None:
    log = written(tmp_path)
    head_before = log.end.head
    (tmp_path / "head").unlink()
    os.truncate(tmp_path / "tree", 32 * 7 + 5)
    again = WrittenLog(tmp_path).close()
    assert again.mended == ("the hashes of lines 4 to 39 were missing and were made again",)
    assert again.end.head.head == head_before.head


def test_lines_that_are_missing_at_the_end_keep_their_numbers(tmp_path: Path) -> None:
    log = written(tmp_path)
    (tmp_path / "head").unlink()
    last = segment_files(tmp_path)[-1]
    last.write_bytes(b"".join(last.read_bytes().splitlines(keepends=True)[:-2]))
    log = WrittenLog(tmp_path)
    (mended,) = log.mended
    lost = len(LINES) - 2
    assert mended == f"lines {lost} to 39 are missing: their hashes are in the tree"
    log.write([b"next"]).close()
    assert content(tmp_path)[-1] == (40, b"next")


def test_a_log_that_contradicts_its_last_head_is_not_continued(tmp_path: Path) -> None:
    log = written(tmp_path)
    keep_head(tmp_path, "head", signed_head(log.signer, 41, bytes(32)))
    with pytest.raises(BrokenLog, match="40 lines and its last head says 41"):
        WrittenLog(tmp_path)
    keep_head(tmp_path, "head", signed_head(log.signer, 40, bytes(32)))
    with pytest.raises(BrokenLog, match="not the one that the last head was signed over"):
        WrittenLog(tmp_path)
    keep_head(tmp_path, "head", written(tmp_path / "other").end.head)
    with pytest.raises(BrokenLog, match="not signed by this log's key"):
        WrittenLog(tmp_path)


def test_one_folder_has_one_writer(tmp_path: Path) -> None:
    first = WrittenLog(tmp_path)
    with pytest.raises(BrokenLog, match="another registry writes this log"):
        WrittenLog(tmp_path)
    first.close()
    WrittenLog(tmp_path).close()


@pytest.mark.parametrize("writes_before", [0, 1, 2])
@pytest.mark.parametrize("next_day", ["20260101", "20260102"])
def test_a_batch_that_failed_halfway_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes_before: int, next_day: str
) -> None:
    log = WrittenLog(tmp_path).write(LINES[:9])
    end, left = log.end, writes_before
    write = os.pwrite

    def pwrite(descriptor: int, data: bytes, at: int) -> int:
        nonlocal left
        if left == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left -= 1
        # Like a disk that is nearly full: a part of it.
        return write(descriptor, data[: len(data) // 2 or 1], at)

    monkeypatch.setattr(os, "pwrite", pwrite)
    with pytest.raises(OSError, match="No space"):
        log.write(LINES[9:20])
    with pytest.raises(OSError, match="No space"):
        log.write(LINES[9:20], "20260102")
    monkeypatch.undo()
    assert log.end is end
    log.write(LINES[9:20], next_day).write(LINES[20:], next_day).close()
    assert content(tmp_path) == numbered(LINES)
    assert head_in(tmp_path) == log.end.head
    assert log.end.head.head.root == written(tmp_path / "other").end.head.head.root


def test_a_file_that_was_cut_while_the_log_is_open_is_noticed(tmp_path: Path) -> None:
    log = WrittenLog(tmp_path).write(LINES[:9])
    os.truncate(segment_files(tmp_path)[0], 10)
    with pytest.raises(BrokenLog, match="was cut short"):
        log.write(LINES[9:])
    log.close()
