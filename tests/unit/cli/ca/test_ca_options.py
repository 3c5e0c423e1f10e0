"""The passphrase of a root key, and what the commands of `vertice ca` say of their folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.authorities import PASSPHRASE
from tests.commands import command


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "passphrase"
    path.write_bytes(PASSPHRASE + b"\n")
    return path


def test_an_authority_is_made_and_its_files_are_named(tmp_path: Path, secret: Path) -> None:
    done = command(
        "ca", "init", "--passphrase-file", secret, "--domain", "fleet.example", "--zone", "a.b", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "vertice-ca"
    for path in ("replicas/authority.crt", "replicas/authority.key", "trust.crt", "roots"):
        assert str(folder / path) in done.stdout
    assert PASSPHRASE.decode() not in done.stdout
    shown = command("ca", "status", "--dir", folder, "-o", "json")
    said = json.loads(shown.stdout)
    assert (said["trust_domain"], said["zones"], said["stage"]) == ("fleet.example", ["a.b"], "steady")
    assert "ends" in command("ca", "status", "--dir", folder).stdout
    again = command("ca", "init", "--passphrase-file", secret, "--dir", folder)
    assert (again.returncode, again.stdout) == (2, "")
    assert "holds an authority already" in again.stderr


def test_the_zone_is_the_agents_unless_another_is_named(tmp_path: Path, secret: Path) -> None:
    done = command("ca", "init", "--passphrase-file", secret, "--dir", tmp_path / "ca", AGENT_DNS_ZONE="Fleet.Example.")
    assert "the names in fleet.example" in done.stdout


def test_the_steps_of_a_rotation_are_taken_in_their_order(tmp_path: Path, secret: Path) -> None:
    folder = tmp_path / "ca"
    assert command("ca", "init", "--passphrase-file", secret, "--dir", folder).returncode == 0
    words: tuple[str | Path, ...] = ("--dir", folder, "--passphrase-file", secret)
    early = command("ca", "rotate", "sign", *words)
    assert (early.returncode, early.stderr.splitlines()) == (
        1,
        ["vertice: the authority is steady: the next step is `vertice ca rotate announce`, not sign"],
    )
    assert "vertice ca rotate sign" in command("ca", "rotate", "announce", *words).stdout
    assert "vertice ca rotate retire" in command("ca", "rotate", "sign", *words).stdout
    soon = command("ca", "rotate", "retire", "--dir", folder, "--lifetime", "168h")
    assert (soon.returncode, "another 7.0 days" in soon.stderr) == (1, True)
    assert command("ca", "rotate", "retire", "--dir", folder, "--lifetime", "1ms").returncode == 0
    assert json.loads(command("ca", "status", "--dir", folder, "-o", "json").stdout)["stage"] == "steady"


def test_a_wrong_passphrase_is_one_line_and_wrong_usage(tmp_path: Path, secret: Path) -> None:
    folder = tmp_path / "ca"
    assert command("ca", "init", "--passphrase-file", secret, "--dir", folder).returncode == 0
    other = tmp_path / "other"
    other.write_text("not the passphrase")
    wrong = command("ca", "intermediate", "--dir", folder, "--passphrase-file", other)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "the passphrase is wrong" in wrong.stderr
    assert len(wrong.stderr.splitlines()) == 1


@pytest.mark.parametrize(("content", "because"), [("short", "8 to 1000 characters"), (None, "No such file")])
def test_a_passphrase_that_cannot_be_used_is_wrong_usage(tmp_path: Path, content: str | None, because: str) -> None:
    path = tmp_path / "passphrase"
    if content is not None:
        path.write_text(content)
    done = command("ca", "init", "--dir", tmp_path / "ca", "--passphrase-file", path)
    assert (done.returncode, because in done.stderr) == (2, True)


def test_nobody_is_asked_where_there_is_no_terminal(tmp_path: Path) -> None:
    done = command("ca", "init", "--dir", tmp_path / "ca")
    assert (done.returncode, "--passphrase-file" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "words",
    [
        ("init", "--domain", "Fleet Example"),
        ("init", "--zone", ".."),
        ("init", "--days", "0"),
        ("rotate", "backwards"),
        ("rotate", "retire", "--lifetime", "soon"),
        ("deny",),
        ("deny", "billing", "--serial", "1"),
        ("allow", "a/b"),
        ("status", "--dir", "/no/such/folder"),
        ("intermediate", "--dir", "/no/such/folder"),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_wrong_usage(words: tuple[str, ...], tmp_path: Path) -> None:
    done = command("ca", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("vertice: ")
    assert len(done.stderr.splitlines()) == 1
