"""How commands are packed: as redis-py packs them, only faster."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Connection

from registry_core.store.redis.link import packed

WORDS = st.text(max_size=20) | st.binary(max_size=40)


@given(st.lists(WORDS, max_size=6))
def test_a_command_is_packed_as_redis_py_packs_it(words: list[str | bytes]) -> None:
    assert packed(("EVALSHA", *words)) == b"".join(Connection().pack_command("EVALSHA", *words))
