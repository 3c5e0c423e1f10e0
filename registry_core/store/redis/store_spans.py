"""The span of one write to Redis, after OpenTelemetry's conventions for databases.

https://opentelemetry.io/docs/specs/semconv/database/redis/. It lasts from the call until the servers that may lead next
have the write: what its caller waits for, with other callers' writes in the same pipeline. No argument is in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from registry_core.domain.host_port import split_host_port
from registry_core.store.redis.scripts import ScriptName
from registry_core.telemetry.spans import Span, SpanKind, span
from registry_core.telemetry.trace_context import parent

# What a script does to Redis, for those who read traces; others have the script's own name.
_VERBS: Final[Mapping[ScriptName, str]] = {
    ScriptName.REGISTER: "set",
    ScriptName.RENEW: "expire",
    ScriptName.DEREGISTER: "del",
}


def store_span(name: ScriptName, shard: str, master: str) -> Span:
    """Return the span of one script on the master of a shard, for a `with` block."""
    verb = f"redis.{_VERBS.get(name, name.value)}"
    current = parent.get()
    if current is None or not current.sampled:
        return span(verb)  # it does nothing, and needs no attributes
    attributes: dict[str, str | int] = {
        "db.system.name": "redis",
        "db.operation.name": "EVALSHA",
        "db.stored_procedure.name": name.value,
        "vertice.shard": shard,
    }
    if master:
        host, port = split_host_port(master)
        attributes["server.address"] = host
        if port is not None:
            attributes["server.port"] = port
    return span(verb, SpanKind.CLIENT, attributes)
