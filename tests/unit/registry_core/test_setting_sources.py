"""Settings in an environment: secrets in files, older names, and the names of other programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry_core import settings
from registry_core.errors import SettingsError
from registry_core.setting_sources import MAX_SECRET_BYTES, read_settings
from registry_core.setting_values import Values
from registry_core.settings import Setting

SECRET = Setting("T_SECRET", settings.secret, "", "the secret", "x", secret=True, aliases=("OLD_TOKEN",))
PORT = Setting("T_PORT", settings.integer(1, 65535), 1, "the port", "80")


def read(environment: dict[str, str]) -> Values:
    return read_settings((SECRET, PORT), environment, prefixes=("T_",), known=("T_OF_ANOTHER",))


@pytest.mark.parametrize("name", ["T_SECRET_FILE", "OLD_TOKEN_FILE"])
@pytest.mark.parametrize("body", [b"s3cret", b"s3cret\n", b" s3cret\r\n", b"\xef\xbb\xbfs3cret\n"])
def test_a_secret_is_read_from_a_file(name: str, body: bytes, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(body)
    assert read({name: str(path), "T_SECRET": " "})[SECRET] == "s3cret"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff\xfe", "is not text"),
        (b"a" * (MAX_SECRET_BYTES + 1), "it is not a secret"),
        (b"one two", "cannot be used: a secret has visible ASCII characters only"),
    ],
)
def test_a_wrong_file_of_a_secret_is_one_line_without_its_content(body: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(body)
    with pytest.raises(SettingsError) as refusal:
        read({"T_SECRET_FILE": str(path)})
    line = str(refusal.value)
    assert line.startswith("T_SECRET_FILE: ")
    assert str(path) in line
    assert why in line
    assert "one two" not in line


@pytest.mark.parametrize("path", ["/nowhere/secret", "/", "a\0b"])
def test_a_file_that_cannot_be_read_is_named(path: str) -> None:
    with pytest.raises(SettingsError, match=r"^T_SECRET_FILE: .*(cannot be read: |is not the name of a file)"):
        read({"T_SECRET_FILE": path})


def test_two_names_of_one_setting_must_agree(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("s3cret\n", encoding="utf-8")
    same = {"T_SECRET": "s3cret", "OLD_TOKEN": " s3cret ", "T_SECRET_FILE": str(path)}
    assert read(same)[SECRET] == "s3cret"
    with pytest.raises(SettingsError) as refusal:
        read({**same, "OLD_TOKEN": "another"})
    assert str(refusal.value).startswith("T_SECRET and OLD_TOKEN and T_SECRET_FILE: they are names of one setting")
    assert "another" not in str(refusal.value)


def test_only_a_secret_has_a_file() -> None:
    assert read({"T_PORT_FILE": "/nowhere"}).unknown == ("T_PORT_FILE",)


def test_an_unknown_name_is_reported_and_a_misspelt_one_refused() -> None:
    values = read({"T_XXXXXXXX": "1", "T_OF_ANOTHER": "1", "HOME": "/"})
    assert values.unknown == ("T_XXXXXXXX",)
    for name, meant in (("T_SECRT", "T_SECRET"), ("OLD_TOKN", "OLD_TOKEN"), ("OLD_TOKEN_FIEL", "OLD_TOKEN_FILE")):
        with pytest.raises(SettingsError, match=rf"^{name}: there is no such setting \(did you mean {meant}\?\)$"):
            read({name: ""})
