"""The scripts of the Redis store on a clock that a test sets. The server runs them as it runs those of the product.

They read the server's time in one place, `now_ms`, which is replaced here. Everything else in them is unchanged.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from typing import Final

from registry_core.store.redis.scripts import SCRIPTS, Script, ScriptName

_NOW_MS: Final = re.compile(r"(local function now_ms\(\)\n).*?(\nend\n)", re.DOTALL)
# In the place of the deadline of a call.
IN_THE_CALL: Final = "return tonumber(ARGV[2])"
IN_A_KEY: Final = "return tonumber(redis.call('GET', P .. ':told'))"


def told_scripts(where: str) -> dict[ScriptName, Script]:
    """Return every script with the test's time, from `IN_THE_CALL` or `IN_A_KEY`."""
    return {name: _told(script.text, where) for name, script in SCRIPTS.items()}


def _told(text: str, where: str) -> Script:
    told, count = _NOW_MS.subn(rf"\1    {where}\2", text)
    assert count == 1, "the time must be read in exactly one place"
    assert "'TIME'" not in told, "the time is also read elsewhere"
    return Script(told, hashlib.sha1(told.encode()).hexdigest())


@contextlib.contextmanager
def stores_are_told(where: str) -> Iterator[None]:
    """Let the stores of this process send such scripts for the duration of a `with`."""
    before = dict(SCRIPTS)
    SCRIPTS.update(told_scripts(where))
    try:
        yield
    finally:
        SCRIPTS.update(before)
