"""The Lua scripts of a shard: read from their files once, sent by their hash, loaded where they are missing."""

from __future__ import annotations

import enum
import hashlib
from importlib import resources
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import NoScriptError

# Events that a shard keeps for readers who were away; who was away for longer reads everything.
STREAM_LENGTH: Final = 100_000


class Name(enum.StrEnum):
    """The scripts, by the names of their files."""

    OPEN = "open"
    REGISTER = "register"
    RESTORE = "restore"
    RENEW = "renew"
    SET_STATUS = "set_status"
    DEREGISTER = "deregister"
    CENSUS = "census"
    SWEEP = "sweep"
    RELEASE = "release"
    PAGE = "page"
    RENEWALS = "renewals"


class Script(msgspec.Struct, frozen=True):
    """One script, with the library before it."""

    text: str
    sha: str


# Before every script but the one that opens: what is told of an emptied shard would be told to nobody.
_OPENED: Final = """
if redis.call('EXISTS', META) == 0 then
    return redis.error_reply('NOTOPEN the shard was emptied, and nobody has opened it again yet')
end
"""


def _read() -> dict[Name, Script]:
    folder = resources.files(__package__) / "scripts"
    library = (folder / "library.lua").read_text(encoding="utf-8")
    texts = {
        name: library + ("" if name is Name.OPEN else _OPENED) + (folder / f"{name}.lua").read_text(encoding="utf-8")
        for name in Name
    }
    return {
        name: Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
        for name, text in texts.items()
    }


SCRIPTS: Final = _read()


async def load(client: Redis) -> None:
    """Have the server know every script."""
    pipeline = client.pipeline(transaction=False)
    for script in SCRIPTS.values():
        pipeline.script_load(script.text)
    await pipeline.execute()


def add(pipeline: Pipeline, name: Name, prefix: str, arguments: tuple[str | bytes, ...]) -> None:
    """Add one call of a script to a pipeline. The server has to know it (`load`)."""
    pipeline.evalsha(SCRIPTS[name].sha, 0, prefix, str(STREAM_LENGTH), *arguments)


async def run(client: Redis, name: Name, prefix: str, *arguments: str | bytes) -> list[bytes]:
    """Run one script by its text, whatever the server knows, and return what it returned."""
    result = await client.eval(SCRIPTS[name].text, 0, prefix, str(STREAM_LENGTH), *arguments)
    return _listed(result)


async def call(client: Redis, name: Name, prefix: str, *arguments: str | bytes) -> list[bytes]:
    """Run one script by its hash, and by its text where the server does not know it; return what it returned."""
    try:
        result = await client.evalsha(SCRIPTS[name].sha, 0, prefix, str(STREAM_LENGTH), *arguments)
    except NoScriptError:
        return await run(client, name, prefix, *arguments)
    return _listed(result)


def _listed(result: Any) -> list[bytes]:
    return result if isinstance(result, list) else [str(result).encode()]
