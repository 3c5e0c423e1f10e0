"""The Lua scripts of a shard: read from their files once, called by their hashes, loaded where missing."""

from __future__ import annotations

import enum
import hashlib
from importlib import resources
from typing import Final, TypeAlias

import msgspec

from registry_core.domain.order import MAX_TOMBSTONES, TOMBSTONE_S
from registry_core.ports.once import SignedOnce
from registry_core.store.redis.rows import LINE

# Events that a shard keeps for readers that were away; one that was away for longer reads the whole shard.
STREAM_LENGTH: Final = 100_000
_CONSTANTS: Final = f"""
local STREAM_LENGTH = {STREAM_LENGTH}
local LINE = '^{" ".join(f"({word})" for word in LINE.values())}\\n'
local TOMBSTONE_MS, MAX_TOMBSTONES = {int(TOMBSTONE_S * 1000)}, {MAX_TOMBSTONES}
"""


class ScriptName(enum.StrEnum):
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
    EVICT = "evict"
    REAPPLY = "reapply"
    GUARD = "guard"
    INSPECT = "inspect"
    DENY = "deny"


class Script(msgspec.Struct, frozen=True):
    """One script, prefixed with the library."""

    text: str
    sha: str


# Prefixed to every script but the one that opens: an event of an emptied shard would reach no reader. And a call with
# a deadline is not run after it: a call delayed on its way, or in a stopped server, has failed for its caller. A signed
# request runs once: its mark is written with what it writes, and only its own attempt finds it and goes on.
_OPENED: Final = """
if redis.call('EXISTS', META) == 0 then
    return redis.error_reply('NOTOPEN the shard was emptied and has not been opened again yet')
end
if ARGV[2] ~= '' then
    local until_ms, mark, attempt, keep_ms = string.match(ARGV[2], '^(%d+) ?(%S*) ?(%S*) ?(%d*)$')
    if now_ms() > tonumber(until_ms) then
        return redis.error_reply('TOOLATE the call arrived after its deadline')
    end
    if mark ~= '' then
        local key = P .. ':signed:' .. mark
        if not redis.call('SET', key, attempt, 'NX', 'PX', keep_ms) and redis.call('GET', key) ~= attempt then
            return redis.error_reply('REPLAYED the signed request was carried out before')
        end
    end
end
"""


def _read() -> dict[ScriptName, Script]:
    folder = resources.files(__package__) / "scripts"
    library = _CONSTANTS + (folder / "library.lua").read_text(encoding="utf-8")
    texts = {
        name: library
        + ("" if name is ScriptName.OPEN else _OPENED)
        + (folder / f"{name}.lua").read_text(encoding="utf-8")
        for name in ScriptName
    }
    return {
        name: Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
        for name, text in texts.items()
    }


SCRIPTS: Final = _read()


RedisCommand: TypeAlias = tuple[str | bytes, ...]


def loading() -> list[RedisCommand]:
    """Return the commands that load every script into a server."""
    return [("SCRIPT", "LOAD", script.text) for script in SCRIPTS.values()]


def called(
    name: ScriptName,
    prefix: str,
    arguments: RedisCommand = (),
    *,
    until_ms: int | None = None,
    once: SignedOnce | None = None,
) -> RedisCommand:
    """Return the command that calls a script, which must be loaded (`loading`).

    After `until_ms`, by the server's own clock, it is not run. `once`: the signed request for which it is called.
    """
    until = "" if until_ms is None else str(until_ms)
    if until and once is not None:
        until = f"{until} {once.mark} {once.attempt} {once.keep_ms}"
    return ("EVALSHA", SCRIPTS[name].sha, "0", prefix, until, *arguments)
