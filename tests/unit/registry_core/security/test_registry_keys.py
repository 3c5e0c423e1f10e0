"""What an agent signs with: the shared secret, a key of its own, or one key for each service."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.settings.settings import read_agent_settings
from registry_core.errors import SettingsError
from registry_core.security.registry_keys import KEY_EXAMPLE, service_keys
from registry_core.security.sending import Send, SenderKeys
from registry_core.security.signing_keys import SigningKey, service_key, shared_key

BILLING = service_key("billing", "the-secret")
WEB = service_key("web", "the-secret")


def config(tmp_path: Path, *services: str) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text("".join(f"[[service]]\n{service}\n" for service in services), encoding="utf-8")
    return path


def refusal(environment: dict[str, str], path: Path | None = None) -> str:
    with pytest.raises(SettingsError) as error:
        read_agent_settings(environment, path)
    return str(error.value)


def test_a_key_of_its_own_wins_over_the_shared_secret() -> None:
    assert read_agent_settings({}).keys == SenderKeys()
    assert read_agent_settings({"REGISTRY_SECRET": "one,two"}).keys == SenderKeys(
        shared_key("one"), other=shared_key("two")
    )
    both = {"REGISTRY_SECRET": "one,two", "REGISTRY_KEY": BILLING.text, "REGISTRY_SEND": "signed"}
    assert read_agent_settings(both).keys == SenderKeys(BILLING, send=Send.SIGNED)


def test_each_service_may_have_a_key(tmp_path: Path) -> None:
    file = tmp_path / "web.key"
    file.write_text(f"{WEB.text}\n", encoding="utf-8")
    path = config(
        tmp_path,
        f'name = "billing"\nport = 8034\nkey = "{BILLING.text}"',
        f'name = "web"\nport = 8035\nkey_file = "{file}"',
        'name = "other"\nport = 8036',
    )
    settings = read_agent_settings({}, path)
    assert settings.keys == SenderKeys(None, {"billing": BILLING, "web": WEB})
    assert str(file) in settings.files, "it is read again when it changes"


def test_a_key_file_of_the_environment_is_read_again_when_it_changes(tmp_path: Path) -> None:
    files = {}
    for name, text in (("REGISTRY_KEY", BILLING.text), ("AGENT_HTTP_TOKEN", "a-token"), ("REGISTRY_SECRET", "s3cret")):
        files[f"{name}_FILE"] = tmp_path / name
        (tmp_path / name).write_text(text, encoding="utf-8")
    settings = read_agent_settings({name: str(path) for name, path in files.items()})
    assert set(settings.files) == set(map(str, files.values()))
    assert (settings.keys.default, settings.local_port.tokens) == (BILLING, ("a-token",))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('key = "nothing"', "key: it cannot be used: a key has the form ID.SECRET"),
        ("key = 7", "key: \\*\\*\\* cannot be used: it must be text"),
        (f'key = "{WEB.text}"', "it is the key of web, not of billing"),
        (f'key = "{BILLING.text}"\nkey_file = "/x"', "key and key_file: set only one of them"),
        ('key_file = "/nonexistent/key"', "key_file: /nonexistent/key cannot be read"),
    ],
)
def test_a_wrong_key_is_one_line_without_the_key(tmp_path: Path, more: str, said: str) -> None:
    line = refusal({}, config(tmp_path, f'name = "billing"\nport = 8034\n{more}'))
    assert said.replace("\\", "") in line
    assert "\n" not in line
    assert BILLING.secret not in line
    assert WEB.secret not in line


def test_one_service_has_one_key(tmp_path: Path) -> None:
    keys = (SigningKey("ci-1", "0123456789"), SigningKey("ci-2", "0123456789"))
    path = config(tmp_path, *(f'name = "billing"\nport = {8034 + n}\nkey = "{key.text}"' for n, key in enumerate(keys)))
    assert "another instance of billing has another key" in refusal({}, path)


def test_a_wrong_key_in_the_environment_is_not_shown() -> None:
    line = refusal({"REGISTRY_KEY": "wrongwrongwrong"})
    assert line.startswith("REGISTRY_KEY: the value cannot be used: a key has the form ID.SECRET")
    assert "wrongwrong" not in line


def test_no_text_of_the_settings_shows_a_secret(tmp_path: Path) -> None:
    path = config(tmp_path, f'name = "billing"\nport = 8034\nkey = "{BILLING.text}"')
    shown = repr(read_agent_settings({"REGISTRY_SECRET": "the-secret-word"}, path))
    assert "the-secret-word" not in shown
    assert BILLING.secret not in shown


def test_the_example_is_a_key() -> None:
    assert service_keys([("x", "billing", KEY_EXAMPLE.rstrip("."), "")]).keys() == {"billing"}
