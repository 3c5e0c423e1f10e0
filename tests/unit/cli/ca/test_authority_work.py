"""What an authority's folder holds after each command, and that a command that broke off can be repeated."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest

from cli.ca.authority_folder import AuthorityFolder, NoFolder, UnusableFolder
from cli.ca.authority_work import make_authority, next_step, renew_intermediate, rotate
from registry_core.security.authority.authority_files import issuer_among
from registry_core.security.authority.issuer import Issuer, issuer_of
from registry_core.security.authority.rotation import RotationStage, RotationStep, WrongStep
from tests.authorities import DOMAIN, PASSPHRASE, authority_in


def issuer_in(folder: AuthorityFolder) -> Issuer:
    """Return what a replica makes of the two files."""
    return issuer_of(folder.replicas.cert.read_bytes(), folder.replicas.key.read_bytes())


def test_the_root_key_is_encrypted_and_no_key_is_readable_for_others(tmp_path: Path) -> None:
    folder = authority_in(tmp_path / "ca")
    keys = list(folder.path.rglob("*.key"))
    assert len(keys) == 2
    assert all(stat.S_IMODE(key.stat().st_mode) == 0o600 for key in keys)
    assert all(stat.S_IMODE(each.stat().st_mode) == 0o700 for each in folder.path.rglob("*") if each.is_dir())
    assert "ENCRYPTED" in (folder.path / "roots" / "1.key").read_text()
    assert b"ENCRYPTED" not in folder.replicas.key.read_bytes()


def test_the_two_files_for_replicas_are_all_that_they_need(tmp_path: Path) -> None:
    folder = authority_in(tmp_path / "ca")
    issuer = issuer_in(folder)
    assert issuer.domain == DOMAIN
    assert issuer.chain.bundle == folder.trust.read_bytes()


def test_a_folder_is_not_made_twice(tmp_path: Path) -> None:
    folder = authority_in(tmp_path / "ca")
    with pytest.raises(NoFolder, match="holds an authority already"):
        make_authority(folder, DOMAIN, PASSPHRASE, time.time())
    with pytest.raises(NoFolder, match="holds no authority"):
        AuthorityFolder(tmp_path / "elsewhere").state()


def test_a_wrong_passphrase_changes_nothing(tmp_path: Path) -> None:
    folder = authority_in(tmp_path / "ca")
    before = {path: path.read_bytes() for path in folder.path.rglob("*.*")}
    for work in (
        lambda: renew_intermediate(folder, b"wrong passphrase", time.time()),
        lambda: rotate(folder, RotationStep.ANNOUNCE, b"wrong passphrase", time.time(), longest_s=0),
    ):
        with pytest.raises(UnusableFolder, match="passphrase is wrong"):
            work()
    assert {path: path.read_bytes() for path in folder.path.rglob("*.*")} == before


def test_a_new_intermediate_has_the_same_root(tmp_path: Path) -> None:
    folder = authority_in(tmp_path / "ca")
    before = folder.chain()
    after = renew_intermediate(folder, PASSPHRASE, time.time())
    assert after.intermediate != before.intermediate
    assert after.roots == before.roots
    assert folder.chain() == after


def test_a_rotation_goes_from_one_root_to_the_next(tmp_path: Path) -> None:
    folder, now = authority_in(tmp_path / "ca"), time.time()
    old = folder.root(1)

    def step(which: RotationStep) -> tuple[int, int]:
        _, chain = rotate(folder, which, PASSPHRASE, now, longest_s=0)
        assert folder.chain() == chain
        issuer_in(folder)
        return len(chain.roots), len(chain.crossed)

    assert step(RotationStep.ANNOUNCE) == (2, 0)
    assert issuer_among(folder.chain().intermediate, [old]) == old
    assert step(RotationStep.SIGN) == (2, 1)
    new = folder.root(2)
    assert issuer_among(folder.chain().intermediate, [old, new]) == new
    assert issuer_among(folder.chain().crossed[0], [old]) == old
    with pytest.raises(WrongStep, match="may be valid for another"):
        rotate(folder, RotationStep.RETIRE, b"", now, longest_s=3600)
    assert step(RotationStep.RETIRE) == (1, 0)
    assert folder.chain().roots == (new,)
    assert step(RotationStep.ANNOUNCE) == (2, 0)
    assert folder.state().roots == (2, 3)


@pytest.mark.parametrize("step", [RotationStep.ANNOUNCE, RotationStep.SIGN])
def test_a_step_that_broke_off_before_its_end_is_repeated(tmp_path: Path, step: RotationStep) -> None:
    folder, now = authority_in(tmp_path / "ca"), time.time()
    if step is RotationStep.SIGN:
        rotate(folder, RotationStep.ANNOUNCE, PASSPHRASE, now, longest_s=0)
    state = (folder.path / "ca.json").read_bytes()
    rotate(folder, step, PASSPHRASE, now, longest_s=0)
    # Everything was written but the state, which is written last.
    (folder.path / "ca.json").write_bytes(state)
    rotate(folder, step, PASSPHRASE, now, longest_s=0)
    issuer_in(folder)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    folder = authority_in(tmp_path / "ca")
    for path, read in (
        (folder.path / "ca.json", folder.state),
        (folder.replicas.cert, folder.chain),
        (folder.path / "roots" / "1.crt", lambda: folder.root(1)),
    ):
        path.write_bytes(b"nothing")
        with pytest.raises(UnusableFolder, match=path.name):
            read()


def test_each_stage_says_what_follows() -> None:
    assert [bool(next_step(stage)) for stage in RotationStage] == [True] * 3
