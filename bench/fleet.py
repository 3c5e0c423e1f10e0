"""Puts a large fleet directly into Redis, with the product's own script but without HTTP."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from redis import Redis

from bench.middle import registration
from registry_core.domain.encoding import claim_json
from registry_core.domain.host_port import host_port
from registry_core.domain.records import Registration
from registry_core.domain.registration import checked
from registry_core.store.redis import rows
from registry_core.store.redis.scripts import SCRIPTS, ScriptName, called
from tests.programs import wait_until

TTL_MS: Final = 60_000
REMOVED_MS: Final = 75_000
_BATCH: Final = 1000


def fill(client: Redis, first: int, last: int, prefix: str = "vertice") -> None:
    """Register the instances from `first` up to but not including `last`, once a registry has opened the shard."""
    wait_until(lambda: bool(client.hexists(f"{prefix}:meta", "epoch")), "a registry has opened the shard")
    client.script_load(SCRIPTS[ScriptName.REGISTER].text)
    for start in range(first, last, _BATCH):
        pipeline = client.pipeline(transaction=False)
        for number in range(start, min(start + _BATCH, last)):
            claim = checked(msgspec.convert(registration(number), Registration))
            claim = msgspec.structs.replace(claim, addresses=(claim.host,))
            _, sha, keys, *arguments = called(ScriptName.REGISTER, prefix, _arguments(claim))
            pipeline.evalsha(str(sha), int(keys), *arguments)
        pipeline.execute()


def _arguments(claim: Registration) -> tuple[Any, ...]:
    address = host_port(claim.host, claim.port)
    return (
        rows.field_of(claim.key),
        claim.service_name,
        address,
        "",
        claim.status.value,
        claim_json(claim),
        str(TTL_MS),
        "",  # no sequence
        "0",  # displaces nobody
        str(TTL_MS),
        str(REMOVED_MS),
    )
