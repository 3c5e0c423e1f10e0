"""`vertice ca issue`: openssl accepts what it issues for the hosts that it names, and for no others."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cli.main import main
from tests.programs import find

PASSPHRASE = "correct horse battery"


@pytest.fixture
def authority(tmp_path: Path) -> list[str]:
    """Return the options that name an authority."""
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    options = ["--dir", str(tmp_path / "ca"), "--passphrase-file", str(tmp_path / "passphrase")]
    assert main(["ca", "init", *options]) == 0
    return options


def verifies(folder: Path, *expected: str) -> bool:
    argv = [find("openssl"), "verify", "-CAfile", str(folder / "ca" / "trust.crt"), *expected, str(folder / "out.crt")]
    return subprocess.run(argv, capture_output=True, check=False, timeout=20).returncode == 0


def text_of(folder: Path) -> str:
    argv = [find("openssl"), "x509", "-in", str(folder / "out.crt"), "-noout", "-text"]
    return subprocess.run(argv, capture_output=True, check=True, timeout=20, text=True).stdout


def issue(authority: list[str], folder: Path, *words: str) -> int:
    try:
        return main(["ca", "issue", *words, "--out", str(folder / "out"), *authority])
    except SystemExit as ended:  # what argparse refuses
        return int(ended.code or 0)


def test_a_server_is_accepted_under_its_names_and_addresses_alone(authority: list[str], tmp_path: Path) -> None:
    assert issue(authority, tmp_path, "Registry.example", "10.0.0.5", "2001:db8::5") == 0
    for expected in (
        ("-verify_hostname", "registry.example"),
        ("-verify_ip", "10.0.0.5"),
        ("-verify_ip", "2001:db8::5"),
        ("-purpose", "sslserver"),
    ):
        assert verifies(tmp_path, *expected), expected
    assert not verifies(tmp_path, "-verify_hostname", "other.example")
    assert not verifies(tmp_path, "-verify_ip", "10.0.0.6")
    assert "spiffe:" not in text_of(tmp_path)


def test_a_role_is_named_by_a_spiffe_id_and_the_key_is_for_its_owner_alone(
    authority: list[str], tmp_path: Path
) -> None:
    assert issue(authority, tmp_path, "--role", "operator", "--days", "7") == 0
    assert "URI:spiffe://vertice.internal/role/operator" in text_of(tmp_path)
    assert verifies(tmp_path, "-purpose", "sslclient")
    assert (tmp_path / "out.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "refused",
    [
        ((), 2, "give a host, a role, or both"),
        (("a b",), 1, "a host is an IPv4 or IPv6 address or a host name"),
        (("a", "--days", "91"), 2, "--days"),
        (("a", "--role", "root"), 2, "--role"),
        (tuple(f"host{number}" for number in range(65)), 2, "at most 64 hosts"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line_and_writes_nothing(
    authority: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], refused: tuple[tuple[str, ...], int, str]
) -> None:
    words, code, said = refused
    capsys.readouterr()
    assert issue(authority, tmp_path, *words) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not list(tmp_path.glob("out.*"))


def test_a_wrong_passphrase_issues_nothing(authority: list[str], tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text("another passphrase")
    assert issue(authority, tmp_path, "registry") == 2
    assert not list(tmp_path.glob("out.*"))
