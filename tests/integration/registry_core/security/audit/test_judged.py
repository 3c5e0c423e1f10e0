"""Heads, proofs and stored trees, judged by Go: its checksum database's packages, and transparency-dev's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry_core.security.audit.folder import TREE_FILE, TreeFile
from registry_core.security.audit.heads import SignedHead
from registry_core.security.audit.key import signer_in
from registry_core.security.audit.merkle import root
from registry_core.security.audit.notes import COSIGNATURE
from registry_core.security.audit.reading import consistency_in, inclusion_in
from tests.audit_judge import BUILD_TIMEOUT_S, judged
from tests.audit_logs import LINES, WrittenLog, written

pytestmark = pytest.mark.timeout(BUILD_TIMEOUT_S + 60)


def root_of(log: WrittenLog, size: int) -> bytes:
    with TreeFile(log.folder) as tree:
        return root(size, tree.read)


def inclusions(log: WrittenLog) -> Iterator[dict[str, Any]]:
    for size in (1, 2, 3, 7, 8, 31, 40):
        for index in range(size):
            yield {
                "Kind": "inclusion",
                "Size": size,
                "Index": index,
                "Line": LINES[index],
                "Root": root_of(log, size),
                "Proof": inclusion_in(log.folder, index, size),
            }


def consistencies(log: WrittenLog) -> Iterator[dict[str, Any]]:
    for second in (1, 2, 3, 7, 8, 31, 40):
        for first in range(1, second + 1):
            yield {
                "Kind": "consistency",
                "First": first,
                "Size": second,
                "OldRoot": root_of(log, first),
                "Root": root_of(log, second),
                "Proof": consistency_in(log.folder, first, second),
            }


def test_go_accepts_every_proof_and_the_stored_tree(tmp_path: Path) -> None:
    log = written(tmp_path)
    stored = (tmp_path / TREE_FILE).read_bytes()
    tree = {"Kind": "tree", "Lines": LINES, "Tree": stored, "Root": log.end.head.head.root}
    questions = [*inclusions(log), *consistencies(log), tree]
    assert set(judged(questions)) == {""}


def test_go_refuses_spoilt_ones_so_it_does_judge(tmp_path: Path) -> None:
    log = written(tmp_path)
    questions = [
        {**one, "Proof": [*one["Proof"][:-1], bytes(32)]}
        for one in (*inclusions(log), *consistencies(log))
        if one["Proof"]
    ]
    assert all(judged(questions))


def test_go_verifies_a_head_with_the_signatures_of_its_witnesses(tmp_path: Path) -> None:
    log = written(tmp_path / "a")
    witnesses = []
    for name in ("b", "c"):
        (tmp_path / name).mkdir()
        witnesses.append(signer_in(tmp_path / name, f"vertice-audit/{name}"))
    head = log.end.head
    note = head.note.with_signatures([one.cosign(head.head.body, 1_700_000_000) for one in witnesses])
    question: dict[str, Any] = {
        "Kind": "head",
        "Note": str(SignedHead(head.head, note)),
        "Key": str(log.signer.verifier),
        "Witnesses": [str(one.verifier.of_kind(COSIGNATURE)) for one in witnesses],
        "Size": 40,
        "Root": head.head.root,
    }
    forged = {**question, "Note": question["Note"].replace("\n40\n", "\n41\n")}
    foreign = {**question, "Witnesses": [question["Witnesses"][0], str(signer_in(tmp_path, "x").verifier.of_kind(4))]}
    answers = judged([question, forged, foreign])
    assert answers[0] == ""
    assert all(answers[1:])
