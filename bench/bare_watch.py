"""A bare uvloop client of a watch, which decodes each line as JSON and forgets it: what a change costs at least."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import cast

import msgspec
import uvloop

_REQUEST = b"GET /watch HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Watch-Protocol: 2\r\n\r\n"


class BareReader(asyncio.Protocol):
    """The connection. Prints the number of instances of the snapshot once it has arrived."""

    def __init__(self) -> None:
        self._rest = b""
        self._instances = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).write(_REQUEST)

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                self._take(msgspec.json.decode(line))

    def _take(self, line: dict[str, object]) -> None:
        if line["type"] == "snapshot":
            self._instances += len(cast("Sequence[object]", line["instances"]))
            if line["last"]:
                print(self._instances, flush=True)


async def main(port: int) -> None:
    """Read until killed."""
    await asyncio.get_running_loop().create_connection(BareReader, "127.0.0.1", port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
