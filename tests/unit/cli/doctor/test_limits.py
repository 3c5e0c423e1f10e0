"""The doctor's findings on the limits of a process: open files, and the buffer for datagrams."""

from __future__ import annotations

import pytest

from cli.doctor.limits import ENOUGH_FILES, judge
from dns.udp import RECEIVE_BUFFER
from tests.unit.cli.doctor.samples import facts, ids


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (None, []),
        (0, ["open-files-few"]),
        (ENOUGH_FILES - 1, ["open-files-few"]),
        (ENOUGH_FILES, ["open-files"]),
        (2**20, ["open-files"]),
    ],
)
def test_a_process_needs_enough_open_files(files: int | None, expected: list[str]) -> None:
    assert ids(list(judge(facts(machine={"open_files": files})))) == expected


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (None, []),
        (0, ["receive-buffer-small"]),
        (RECEIVE_BUFFER - 1, ["receive-buffer-small"]),
        (RECEIVE_BUFFER, ["receive-buffer"]),
    ],
)
def test_the_dns_socket_needs_its_receive_buffer(limit: int | None, expected: list[str]) -> None:
    assert ids(list(judge(facts(machine={"rmem_max": limit})))) == expected


def test_both_limits_are_reported_with_figures_and_cures() -> None:
    files, buffer = judge(facts(machine={"open_files": 256, "rmem_max": 212_992}))
    assert files.what.startswith("a process may have 256 files")
    assert "`ulimits: {nofile: 4096}`" in files.cure
    assert "212992 bytes" in buffer.what
    assert f"net.core.rmem_max={RECEIVE_BUFFER}" in buffer.cure
