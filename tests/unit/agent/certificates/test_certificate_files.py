"""The files of a certificate: a reader finds a pair that belongs together, whenever it looks."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from agent.certificates.certificate_files import MOST_VERSIONS, CertificateFiles, FileAccess, StoredFiles, owner_of
from agent.own_files import NotOurs


def files_of(number: int) -> StoredFiles:
    return StoredFiles(b"chain %d" % number, b"key %d" % number, b"roots %d" % number)


def test_what_is_written_is_read_back_under_all_its_names(tmp_path: Path) -> None:
    files = CertificateFiles(tmp_path / "certificates", FileAccess())
    assert files.read("billing") is None
    files.write("billing", files_of(1))
    assert files.read("billing") == files_of(1)
    folder = tmp_path / "certificates"
    assert (folder / "billing.pem").read_bytes() == b"key 1chain 1"
    assert (folder / "billing.ca.crt").read_bytes() == b"roots 1"
    assert files.path_of("billing").read_bytes() == b"chain 1"


def test_only_the_owner_may_read_a_key_unless_a_group_is_told(tmp_path: Path) -> None:
    for number, mode in enumerate((0o600, 0o640)):
        files = CertificateFiles(tmp_path / str(number), FileAccess(mode=mode))
        files.write("billing", files_of(1))
        modes = {
            kind: stat.S_IMODE((tmp_path / str(number) / f"billing.{kind}").stat().st_mode)
            for kind in ("crt", "key", "pem", "ca.crt")
        }
        assert modes == {"crt": 0o644, "key": mode, "pem": mode, "ca.crt": 0o644}


def test_a_reader_that_resolves_the_folder_once_never_mixes_two_versions(tmp_path: Path) -> None:
    files = CertificateFiles(tmp_path, FileAccess())
    files.write("billing", files_of(0))
    ended = threading.Event()
    faults: list[object] = []
    reads = written = 0

    def read() -> None:
        nonlocal reads
        while not ended.is_set():
            before = written
            try:
                folder = (tmp_path / "billing.d").resolve(strict=True)
                key = (folder / "billing.key").read_bytes()
                chain = (folder / "billing.crt").read_bytes()
            except FileNotFoundError as error:
                # So many versions in one read, which a busy machine may interrupt, are more than is promised.
                if written - before < MOST_VERSIONS:
                    faults.append(error)
                continue
            reads += 1
            if key.split()[1] != chain.split()[1]:
                faults.append((key, chain))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 60):
        files.write("billing", files_of(number))
        written = number
    ended.set()
    reader.join()
    assert reads > 0
    assert faults == []


def test_versions_do_not_pile_up(tmp_path: Path) -> None:
    files = CertificateFiles(tmp_path, FileAccess())
    for number in range(MOST_VERSIONS + 5):
        files.write("billing", files_of(number))
    assert len(list(tmp_path.glob(".billing.*"))) == MOST_VERSIONS + 2
    for version in tmp_path.glob(".billing.*"):
        os.utime(version, (1, 1))
    files.write("billing", files_of(0))
    assert len(list(tmp_path.glob(".billing.*"))) == 2  # the present one, and the one before for those that read it


def test_a_version_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    CertificateFiles(tmp_path, FileAccess()).write("billing", files_of(1))
    with pytest.raises(OSError, match="no user or group 'nobody-of-that-name'"):
        CertificateFiles(tmp_path, FileAccess(owner="nobody-of-that-name")).write("billing", files_of(2))
    assert CertificateFiles(tmp_path, FileAccess()).read("billing") == files_of(1)
    assert len(list(tmp_path.glob(".billing.*"))) == 1


def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(NotOurs, match="every user may write to it"):
        CertificateFiles(tmp_path, FileAccess()).write("billing", files_of(1))


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    CertificateFiles(outside, FileAccess()).write("billing", files_of(1))
    files = CertificateFiles(tmp_path / "inside", FileAccess())
    files.path.mkdir()
    (files.path / "billing.d").symlink_to((outside / "billing.d").resolve())
    assert files.read("billing") is None


def test_two_services_whose_names_begin_alike_keep_their_files(tmp_path: Path) -> None:
    files = CertificateFiles(tmp_path, FileAccess())
    for name in ("billing", "billing-eu", "bill"):
        for number in range(3):
            files.write(name, files_of(number))
    assert {name: files.read(name) for name in ("billing", "billing-eu", "bill")} == dict.fromkeys(
        ("billing", "billing-eu", "bill"), files_of(2)
    )


def test_owners_are_read_by_name_and_by_number() -> None:
    assert owner_of("") is None
    assert owner_of("1000:1001") == (1000, 1001)
    assert owner_of("root") == (0, 0)
    assert owner_of(":1001") == (-1, 1001)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_files_can_belong_to_the_service(tmp_path: Path) -> None:
    files = CertificateFiles(tmp_path, FileAccess(owner="1234:1235"))
    files.write("billing", files_of(1))
    info = (tmp_path / "billing.key").stat()
    assert (info.st_uid, info.st_gid) == (1234, 1235)
    assert files.read("billing") == files_of(1)
