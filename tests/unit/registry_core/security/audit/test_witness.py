"""A witness signs only what continues what it has signed before."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from registry_core.security.audit.folder import BrokenLog
from registry_core.security.audit.heads import SignedHead, signed_head
from registry_core.security.audit.reading import consistency_in
from registry_core.security.audit.witness import (
    HeadDispute,
    NeedsProof,
    OfferedHead,
    WitnessedHead,
    judged,
    keep_witnessed,
    witnessed_in,
)
from tests.audit_logs import LINES, WrittenLog, written


def offered(log: WrittenLog, old_size: int = 0, head: SignedHead | None = None) -> OfferedHead:
    head = head if head is not None else log.end.head
    proof = consistency_in(log.folder, old_size, head.head.size) if old_size <= head.head.size else ()
    return OfferedHead(head, str(log.signer.verifier), old_size, proof)


def known(log: WrittenLog) -> WitnessedHead:
    verdict = judged(None, offered(log))
    assert isinstance(verdict, WitnessedHead)
    return verdict


def disputed(verdict: object, because: str) -> None:
    assert isinstance(verdict, HeadDispute), verdict
    assert because in verdict.because


def test_the_first_head_of_a_log_is_taken_with_its_key(tmp_path: Path) -> None:
    log = written(tmp_path)
    assert known(log) == WitnessedHead(key=str(log.signer.verifier), head=str(log.end.head), at=0.0)


def test_a_log_that_has_grown_proves_that_it_continues(tmp_path: Path) -> None:
    log = WrittenLog(tmp_path).write(LINES[:9])
    before = known(log)
    log.write(LINES[9:]).close()
    assert judged(before, offered(log)) == NeedsProof(9)
    assert isinstance(judged(before, offered(log, 9)), WitnessedHead)
    disputed(judged(before, msgspec.structs.replace(offered(log, 9), proof=())), "the proof is too short")


def test_a_head_that_is_the_same_is_signed_again(tmp_path: Path) -> None:
    log = written(tmp_path)
    assert judged(known(log), offered(log)) == known(log)


def test_a_log_that_was_rolled_back_is_refused(tmp_path: Path) -> None:
    log = WrittenLog(tmp_path).write(LINES[:9])
    earlier = log.end.head
    log.write(LINES[9:]).close()
    disputed(judged(known(log), offered(log, head=earlier)), "went back from 40 lines to 9")


def test_a_fork_is_refused_whether_it_is_longer_or_as_long(tmp_path: Path) -> None:
    log = WrittenLog(tmp_path / "a").write(LINES[:9])
    before = known(log)
    log.close()
    for lines in (LINES[1:10], LINES[1:20]):
        fork = WrittenLog(tmp_path / f"fork-{len(lines)}")
        fork.signer = log.signer  # a forger of a log has its key
        fork.write(lines).close()
        disputed(judged(before, offered(fork, 9)), "9 lines" if len(lines) == 9 else "does not continue that of 9")


def test_another_key_under_the_same_name_is_refused(tmp_path: Path) -> None:
    log, other = written(tmp_path / "a"), written(tmp_path / "b")
    disputed(judged(known(log), offered(other, 40)), "has another key than before")


def test_a_head_without_the_signature_of_its_key_is_refused(tmp_path: Path) -> None:
    log, other = written(tmp_path / "a"), written(tmp_path / "b")
    disputed(judged(None, msgspec.structs.replace(offered(log), key=str(other.signer.verifier))), "not signed")
    disputed(judged(None, msgspec.structs.replace(offered(log), key="eu-1a")), "cannot be used")


def test_a_log_of_others_is_refused(tmp_path: Path) -> None:
    disputed(judged(None, offered(written(tmp_path, origin="example.com/log"))), "is no log of a registry")


def test_what_was_signed_is_kept(tmp_path: Path) -> None:
    one, other = written(tmp_path / "a"), written(tmp_path / "b", origin="vertice-audit/eu-1b")
    folder = tmp_path / "c"
    (folder / "witnessed").mkdir(parents=True)
    for log in (one, other):
        keep_witnessed(folder, known(log))
    longer = msgspec.structs.replace(known(one), head=str(signed_head(one.signer, 41, bytes(32))), at=7.0)
    keep_witnessed(folder, longer)
    assert witnessed_in(folder) == {"vertice-audit/eu-1a": longer, "vertice-audit/eu-1b": known(other)}
    next(iter((folder / "witnessed").iterdir())).write_bytes(b"{}")
    with pytest.raises(BrokenLog, match="no head that this replica has signed"):
        witnessed_in(folder)
