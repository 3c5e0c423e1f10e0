"""Reads the files of secrets again when they change, while the registry runs. It never shows what is in them.

A file that cannot be read, or has no valid content, changes nothing: what was valid stays valid, and health says so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import structlog

from registry_core.blocking import Threads
from registry_core.causes import cause_of
from registry_core.security.access_settings import AccessSettings, credentials_now
from registry_core.security.issued_keys import UnusableSecrets
from registry_core.security.keyring import Credentials, Keyring
from registry_core.telemetry.logs import hide
from registry_core.telemetry.redaction import secrets_in

CHECK_EVERY_S: Final = 5.0
READ_S: Final = 5.0

# Each path with what tells one state of its file from another: inode, size and time of change.
FileStates: TypeAlias = tuple[tuple[str, int, int, int], ...]

log = structlog.get_logger()


class SecretFiles:
    """The files of secrets of one registry, whose content `keyring` gets."""

    def __init__(self, access: AccessSettings, credentials: Credentials, keyring: Keyring) -> None:
        self._access = access
        self._credentials = credentials
        self._keyring = keyring
        self._states: FileStates | None = None
        self._threads = Threads("secret files", 1)
        self.problem = ""  # why a file is not in use as it is; "" when all are

    @property
    def paths(self) -> tuple[str, ...]:
        """The files."""
        access = self._access
        return tuple(path for path in (access.secret_file, access.read_key_file, access.keys_file) if path)

    async def refresh(self) -> None:
        """Use what the files hold now, if they have changed."""
        work: Callable[[], tuple[FileStates, Credentials | None]] = partial(
            _read_if_changed, self.paths, self._states, self._access, self._credentials
        )
        try:
            states, credentials = await self._threads.run(work, timeout_s=READ_S)
        except UnusableSecrets as error:
            self._failed(str(error))
            return
        except OSError as error:  # also a timeout, and no free thread
            self._failed(cause_of(error))
            return
        self._states = states
        if credentials is None:
            return
        if credentials != self._credentials:
            self._credentials = credentials
            hide(secrets_in(credentials))
            self._keyring.use(credentials)
            log.info(
                "secrets_read_again",
                secrets=len(credentials.shared),
                read_keys=len(credentials.read_keys),
                issued_keys=len(credentials.issued),
            )
        self.problem = ""

    def _failed(self, because: str) -> None:
        # The next check reads again, whether or not the file has changed by then.
        self._states = None
        if because != self.problem:
            log.error("secrets_not_read", because=because, files=self.paths, effect="the previous ones stay valid")
        self.problem = because


def _read_if_changed(
    paths: tuple[str, ...], before: FileStates | None, access: AccessSettings, credentials: Credentials
) -> tuple[FileStates, Credentials | None]:
    states = tuple((path, *_state_of(path)) for path in paths)
    return states, None if states == before else credentials_now(access, credentials)


def _state_of(path: str) -> tuple[int, int, int]:
    status = Path(path).stat()
    return status.st_ino, status.st_size, status.st_mtime_ns
