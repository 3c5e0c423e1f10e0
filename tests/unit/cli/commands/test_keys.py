"""`vertice keys`: a key is shown once, to its owner, and the file keeps two for each holder."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from registry_core.security.issued_keys import read_key_file
from registry_core.security.signing_keys import api_key, read_key
from tests.commands import command

BILLING = ("--service", "billing")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def keys(file: Path, *words: str, secret: str = "") -> subprocess.CompletedProcess[str]:
    return command("keys", *words, REGISTRY_KEYS_FILE=str(file), REGISTRY_SECRET=secret)


def listed(file: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(keys(file, "list", "-o", "json").stdout)
    return rows


def test_an_issued_key_is_printed_once_and_kept_for_the_owner_of_the_file_alone(file: Path) -> None:
    issued = keys(file, "issue", *BILLING, "--days", "30")
    key = read_key(issued.stdout)
    (kept,) = read_key_file(file.read_bytes())
    assert (kept.id, kept.secret, kept.holder) == (key.id, key.secret, "service:billing")
    assert file.stat().st_mode & 0o777 == 0o600
    assert key.secret not in issued.stderr
    for words in (("list",), ("list", "-o", "json"), ("revoke", key.id)):
        done = keys(file, *words)
        assert done.returncode == 0
        assert key.secret not in done.stdout + done.stderr


def test_a_key_can_go_to_a_file_of_its_own(file: Path, tmp_path: Path) -> None:
    to = tmp_path / "billing.key"
    done = keys(file, "issue", *BILLING, "--to", str(to))
    assert done.stdout == ""
    assert read_key(to.read_text()).id in done.stderr
    assert to.stat().st_mode & 0o777 == 0o600


def test_a_rotation_lets_the_present_key_end_later(file: Path) -> None:
    keys(file, "issue", *BILLING)
    assert keys(file, "rotate", *BILLING, "--overlap", "1").returncode == 0
    first, second = listed(file)
    assert (first["valid"], second["valid"]) == (True, True)
    assert first["expires"] is not None
    assert second["expires"] is None
    third = keys(file, "rotate", *BILLING)
    assert third.returncode == 2
    assert "2 valid keys already" in third.stderr
    assert keys(file, "revoke", first["id"]).returncode == 0
    assert keys(file, "rotate", *BILLING, "--overlap", "0").returncode == 0
    assert [row["valid"] for row in listed(file)] == [False, False, True]


def test_there_is_nothing_to_rotate_or_revoke(file: Path) -> None:
    keys(file, "issue", "--role", "reader")
    assert keys(file, "rotate", *BILLING).returncode == 3
    assert keys(file, "revoke", "k-000000000000").returncode == 3


def test_the_derived_key_of_a_service_needs_no_file(file: Path) -> None:
    done = keys(file, "issue", *BILLING, "--derived", secret="a-secret,another")
    assert read_key(done.stdout).secret == api_key("billing", "a-secret")
    assert not file.exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("issue",), "one of --service --role is missing"),
        (("issue", "--service", "No Name"), "names its service"),
        (("issue", "--role", "service"), "is not one of"),
        (("issue", *BILLING, "--days", "-1"), "cannot be used"),
        (("issue", *BILLING, "--derived"), "needs the secret of the fleet"),
        (("issue", "--role", "reader", "--derived"), "--derived is for --service"),
        (("list",), "there is no such file"),
    ],
)
def test_wrong_usage_is_one_line(file: Path, words: tuple[str, ...], says: str) -> None:
    done = keys(file, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_damaged_file_is_not_overwritten(file: Path) -> None:
    file.write_bytes(b"{")
    done = keys(file, "issue", *BILLING)
    assert done.returncode == 2
    assert "not a file of keys" in done.stderr
    assert file.read_bytes() == b"{"


def test_a_file_that_others_can_read_is_pointed_out(file: Path) -> None:
    keys(file, "issue", *BILLING)
    file.chmod(0o644)
    assert "others can read it" in keys(file, "list").stderr
