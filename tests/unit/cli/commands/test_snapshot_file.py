"""The file of `vertice snapshot`: what was written is read back, and an incomplete or altered file is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.commands import snapshot_file
from cli.commands.snapshot_file import BadSnapshotFile, SnapshotFileHeader, SnapshotFileRecord, read, write
from registry_core.domain.records import Instance
from tests.samples import instance, instances

HEADER = SnapshotFileHeader(
    count=0, saved_at="2026-01-01T00:00:00+00:00", source="http://r:8888", store_age_s=0.0, cursor="0.a.1", digest="d"
)


def record(of: Instance | None = None) -> SnapshotFileRecord:
    """Return the line of an instance."""
    fields = msgspec.structs.asdict(of if of is not None else instance())
    return SnapshotFileRecord(**fields, last_heartbeat=1.5, ttl_remaining=60)


def written(path: Path, *records: SnapshotFileRecord) -> Path:
    write(path, HEADER, records)
    return path


def bent(path: Path, bend: Callable[[list[Any]], None]) -> str:
    """Change the lines of a file and correct its checksum; return the refusal."""
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    bend(lines)
    body = [json.dumps(line).encode() for line in lines[1:]]
    header = msgspec.convert({**lines[0], "checksum": ""}, SnapshotFileHeader)
    header = msgspec.structs.replace(header, checksum=snapshot_file._checksum(header, body))
    path.write_bytes(b"".join(line + b"\n" for line in (msgspec.json.encode(header), *body)))
    return refusal(path)


def refusal(path: Path) -> str:
    with pytest.raises(BadSnapshotFile) as error:
        read(path)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    return str(error.value).removeprefix(f"{path}: ")


@given(st.lists(instances(), max_size=4, unique_by=lambda i: i.key))
def test_written_values_are_read_back(tmp_path_factory: pytest.TempPathFactory, some: list[Instance]) -> None:
    path = tmp_path_factory.mktemp("snapshots") / "file"
    records = [record(each) for each in some]
    saved = read(written(path, *records))
    assert saved.records == records
    assert saved.header.count == len(some)


def test_the_old_file_stays_when_a_new_one_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "file", record())
    before = path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(path, HEADER, [])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_and_its_name_are_synced_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def watched(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    written(tmp_path / "file", record())
    assert len(synced) == 2
    assert Path(synced[0]).name.startswith(".file.")
    assert synced[1] == str(tmp_path)


def test_a_symbolic_link_is_followed_and_kept(tmp_path: Path) -> None:
    target, link = tmp_path / "there", tmp_path / "link"
    target.write_text("")
    link.symlink_to(target)
    written(link, record())
    assert link.is_symlink()
    assert len(read(target).records) == 1


def test_every_truncation_and_every_changed_byte_is_detected(tmp_path: Path) -> None:
    path = written(tmp_path / "file", record(), record(instance(port=8035)))
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refusal(path)
    for at in range(len(whole)):
        for value in (whole[at] ^ 1, ord(" ")):
            if value != whole[at]:
                path.write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
                refusal(path)
    path.write_bytes(whole + whole.splitlines(keepends=True)[1])
    assert "2 lines should follow, 3 do: something was added" in refusal(path)


def test_swapped_lines_are_detected(tmp_path: Path) -> None:
    path = written(tmp_path / "file", record(), record(instance(port=8035)))
    first, *others = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([first, *reversed(others)]))
    assert "the file was changed after it was saved" in refusal(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "line 1: format: it is not a snapshot of a registry (example: vertice-snapshot)"),
        (b"\xff\xfe\n", "line 1: format: it is not a snapshot"),
        (b"[" * 100_000, "line 1: format: it is not a snapshot"),
        (b'{"format": "tar"}\n', "line 1: format: it is not a snapshot"),
        (
            b'{"format": "vertice-snapshot", "version": 2, "news": 1}\n',
            "line 1: version: 2 is not known to this program (example: 1)",
        ),
        (b'{"format": "vertice-snapshot", "version": 1}\n', "line 1: count: "),
    ],
)
def test_a_file_that_is_no_snapshot_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert refusal(path).startswith(said)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("port", 80300, "line 3: port: a port is a number from 1 to 65535, not '80300' (example: 8034)"),
        ("port", "x", "line 3: port: port must be a whole number, not text, not 'x' (example: 8034)"),
        ("service_name", "Billing", "line 3: service_name: a service name is written in lower case, not 'Billing'"),
        ("host", "10.0.0", "line 3: host: a host is an IPv4 or IPv6 address"),
        ("status", "ill", "line 3: status: status must be one of passing, warning, critical"),
        ("epoch", -1, "line 3: epoch: epoch is a number from 0"),
        ("registered_at", -1, "line 3: registered_at: registered_at is in Unix seconds"),
        ("registered_at", 1.7e12, "line 3: registered_at: registered_at is in Unix seconds"),
        ("metadata", {"a": "\x1b[2J"}, "line 3: metadata.a: metadata holds no control characters, not '\\x1b[2J'"),
        ("health_endpoint", "//elsewhere", "line 3: health_endpoint: "),
        ("surprise", 1, "line 3: surprise: "),
        ("instance_id", "10.0.0.7:8034", "line 3: instance_id: ip-intel/10.0.0.7:8034 is already in line 2"),
    ],
)
def test_a_record_that_could_not_be_registered_is_named_by_line_and_field(
    tmp_path: Path, field: str, value: object, said: str
) -> None:
    path = written(tmp_path / "file", record(), record(instance(port=8035)))
    assert bent(path, lambda lines: lines[2].update({field: value})).startswith(said)


def test_two_names_that_are_equal_in_dns_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "file", record(), record(instance("ip-intel", port=8035)))
    assert refusal(path) == "line 3: service_name: 'ip-intel' and 'ip_intel' of line 2 are one name in DNS"


def test_an_invalid_line_and_one_that_is_too_long_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "file", record())

    def put(line: object) -> Callable[[list[Any]], None]:
        def bend(lines: list[Any]) -> None:
            lines[1] = line

        return bend

    assert bent(path, put([1])) == "line 2: it is not a JSON object of this kind"
    written(path, record())
    assert "a record has at most 131072" in bent(path, put({"a": "x" * 140_000}))
    with path.open("ab") as file:
        file.truncate(snapshot_file.MAX_FILE_BYTES + 1)  # a sparse file, which takes no space on the disk
    assert "a snapshot has at most" in refusal(path)
