"""The settings of an agent's certificates."""

from __future__ import annotations

import signal

import pytest

from agent.certificates.certificate_files import FileAccess
from agent.certificates.notice import Notice, SignalTo
from agent.settings.certificates import CertificateSettings
from agent.settings.settings import read_agent_settings
from registry_core.errors import SettingsError


def settings(**given: str) -> CertificateSettings:
    return read_agent_settings({f"AGENT_CERT_{name.upper()}": value for name, value in given.items()}).certificates


def test_an_agent_gets_no_certificates_unless_it_has_a_folder_for_them() -> None:
    assert settings() == CertificateSettings()


def test_all_of_them_are_read() -> None:
    found = settings(dir="/c", owner="1000:1000", mode="0640", command="nginx -s 'reload'", signal="HUP:/run/nginx.pid")
    notice = Notice(("nginx", "-s", "reload"), SignalTo(signal.SIGHUP, "/run/nginx.pid"))
    assert found == CertificateSettings("/c", FileAccess("1000:1000", 0o640), notice)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("dir", "relative"),
        ("owner", "a b"),
        ("owner", "a:b:c"),
        ("mode", "0644"),
        ("mode", "0777"),
        ("mode", "rw"),
        ("command", "'"),
        ("signal", "HUP"),
    ],
)
def test_wrong_ones_are_one_clear_line(name: str, wrong: str) -> None:
    with pytest.raises(SettingsError, match=f"AGENT_CERT_{name.upper()}"):
        settings(**{"dir": "/c", name: wrong})


def test_one_that_has_no_effect_is_refused() -> None:
    with pytest.raises(SettingsError, match="AGENT_CERT_COMMAND: it has no effect without AGENT_CERT_DIR"):
        settings(command="nginx -s reload")
