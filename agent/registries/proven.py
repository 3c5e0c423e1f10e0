"""Keeps on disk which registries have proven to take signatures: none of them gets the secret after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from registry_core.blocking import NoThread, Threads
from registry_core.causes import cause_of
from registry_core.security.sending import RequestSigner

LOOK_S: Final = 60.0
WRITE_S: Final = 5.0

_log = structlog.get_logger(component="agent.state")


class ProvenKeeper:
    """Writes the addresses that `signer` knows with `write`, which blocks, whenever there are more of them."""

    def __init__(self, signer: RequestSigner, write: Callable[[frozenset[str]], None]) -> None:
        self._signer = signer
        self._write = write
        self._threads = Threads("keep proven registries", 1)

    async def run(self) -> None:
        """Keep them, until cancelled."""
        kept = self._signer.proven
        while True:
            await asyncio.sleep(LOOK_S)
            proven = self._signer.proven
            if proven == kept:
                continue
            try:
                await self._threads.run(partial(self._write, proven), timeout_s=WRITE_S)
            except (OSError, NoThread) as error:
                _log.warning("proven_registries_not_kept", because=cause_of(error))
            kept = proven
