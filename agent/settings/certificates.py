"""The settings of the certificates that an agent gets for its services."""

from __future__ import annotations

import re
import shlex
from typing import Any, Final

import msgspec

from agent.certificates.certificate_files import FileAccess
from agent.certificates.notice import Notice, SignalTo, read_signal
from registry_core.errors import SettingsError
from registry_core.setting_values import Values
from registry_core.settings import Setting, text

# The modes of a key: others may read it, and nobody else may write it.
_MODES: Final = ("0400", "0440", "0600", "0640")


def _folder(value: str) -> str:
    path = text(value).strip()
    if not path.startswith("/"):
        raise ValueError("it is not an absolute path")
    return path


def _owner(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,32}(:[A-Za-z0-9_.-]{1,32})?|:[A-Za-z0-9_.-]{1,32}", value.strip(), re.ASCII):
        raise ValueError("it is neither user nor user:group")
    return value.strip()


def _mode(value: str) -> int:
    mode = value.strip()
    if mode.zfill(4) not in _MODES:
        raise ValueError(f"it is not one of {', '.join(_MODES)}")
    return int(mode, 8)


def _command(value: str) -> tuple[str, ...]:
    try:
        words = shlex.split(value)
    except ValueError:
        raise ValueError("a quotation mark is not closed") from None
    if not words:
        raise ValueError("it is empty")
    return tuple(words)


CERT_DIR: Final = Setting(
    "AGENT_CERT_DIR",
    _folder,
    "",
    "the folder in which the agent keeps a certificate for each of its services fresh; if unset, it gets none",
    "/run/vertice/certificates",
)
CERT_OWNER: Final = Setting(
    "AGENT_CERT_OWNER",
    _owner,
    "",
    "the owner of the files, as user, user:group or numbers; if unset, the agent's user; another one needs root",
    "1000:1000",
)
CERT_MODE: Final[Setting[int]] = Setting(
    "AGENT_CERT_MODE",
    _mode,
    0o600,
    "the mode of the keys, octal: 0400, 0440, 0600 or 0640; certificates are readable for everybody",
    "0640",
    shown=lambda mode: f"{mode:04o}",
)
CERT_COMMAND: Final[Setting[tuple[str, ...]]] = Setting(
    "AGENT_CERT_COMMAND",
    _command,
    (),
    "a command, run without a shell after the files of a service have changed; SERVICE_NAME and CERTIFICATE are in its "
    "environment. It is repeated until it succeeds",
    "nginx -s reload",
)
CERT_SIGNAL: Final[Setting[SignalTo | None]] = Setting(
    "AGENT_CERT_SIGNAL",
    read_signal,
    None,
    "a signal that is sent then, and the pid file of the process that gets it",
    "HUP:/run/nginx.pid",
)
CERTIFICATE_SETTINGS: Final[tuple[Setting[Any], ...]] = (CERT_DIR, CERT_OWNER, CERT_MODE, CERT_COMMAND, CERT_SIGNAL)


class CertificateSettings(msgspec.Struct, frozen=True):
    """Where certificates are kept, and what follows a change. Without a folder there are none."""

    folder: str = ""
    access: FileAccess = FileAccess()
    notice: Notice = Notice()


def certificate_settings(values: Values) -> CertificateSettings:
    """Return the settings of certificates. Raises SettingsError for those that have no effect."""
    if not values[CERT_DIR]:
        for setting in CERTIFICATE_SETTINGS[1:]:
            if values.given(setting):
                raise SettingsError(
                    f"{setting.name}: it has no effect without {CERT_DIR.name} (example: {CERT_DIR.example})"
                )
    return CertificateSettings(
        values[CERT_DIR],
        FileAccess(values[CERT_OWNER], values[CERT_MODE]),
        Notice(values[CERT_COMMAND], values[CERT_SIGNAL]),
    )
