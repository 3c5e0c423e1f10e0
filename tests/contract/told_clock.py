"""The scripts of the Redis store on a clock that a test tells. The server runs them as it runs those of the product.

They ask the server for the time in one place, `now_ms`; here that is told to them. All else in them is as it is sent.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from typing import Final

from registry_core.store.redis.scripts import SCRIPTS, Script, ScriptName

_NOW_MS: Final = re.compile(r"(local function now_ms\(\)\n).*?(\nend\n)", re.DOTALL)
# In the place of the time by which a call has to be carried out.
IN_THE_CALL: Final = "return tonumber(ARGV[2])"
IN_A_KEY: Final = "return tonumber(redis.call('GET', P .. ':told'))"


def told_scripts(where: str) -> dict[ScriptName, Script]:
    """Return every script, as it is when it is told the time: `IN_THE_CALL`, or `IN_A_KEY`."""
    return {name: _told(script.text, where) for name, script in SCRIPTS.items()}


def _told(text: str, where: str) -> Script:
    told, count = _NOW_MS.subn(rf"\1    {where}\2", text)
    assert count == 1, "there is no one place in which the time is asked for"
    assert "'TIME'" not in told, "the time is asked for in another place, too"
    return Script(told, hashlib.sha1(told.encode()).hexdigest())


@contextlib.contextmanager
def stores_are_told(where: str) -> Iterator[None]:
    """Have the stores of this process send such scripts for the duration of a `with`."""
    before = dict(SCRIPTS)
    SCRIPTS.update(told_scripts(where))
    try:
        yield
    finally:
        SCRIPTS.update(before)
