"""Adds a field to the one definition of an instance, and checks every place that has those fields.

test_fields.py runs it in its own process, since everything imported here has that field for good. Prints the places
in which the field is missing to stdout, one per line.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

DEFINITION: Final = "registry_core.domain.records"
LAST_FIELD: Final = "    status: Status = Status.PASSING\n"
NEW_FIELD: Final = '    colour: str = ""\n'


def add_the_field() -> None:
    """Replace the module with the definition by one with one more field, before anything imports it."""
    spec = importlib.util.find_spec(DEFINITION)
    assert spec is not None
    assert spec.origin is not None
    text = Path(spec.origin).read_text(encoding="utf-8")
    assert text.count(LAST_FIELD) == 1, "the fields of an instance must be defined in one place"
    module = importlib.util.module_from_spec(spec)
    sys.modules[DEFINITION] = module
    exec(compile(text.replace(LAST_FIELD, LAST_FIELD + NEW_FIELD), spec.origin, "exec"), module.__dict__)
    importlib.import_module("registry_core.domain").records = module  # type: ignore[attr-defined] # as an import does


def colours() -> Iterator[tuple[str, Any]]:
    """Yield each place with the colour of a red instance there."""
    # Nothing of the product may be imported before the field is there.
    part = importlib.import_module
    records, schemas, openapi = part(DEFINITION), part("registry_core.api.schemas"), part("registry_core.api.openapi")
    rows, snapshot_file, client = (
        part("registry_core.store.redis.rows"),
        part("cli.commands.snapshot_file"),
        part("agent.registries.client"),
    )
    decode, copied_as = part("registry_core.api.request_bodies").decode, records.copied_as

    sent = b'{"service_name":"ip_intel","endpoint":"http://10.0.0.7:8034","colour":"red"}'
    claim = part("registry_core.api.request_bodies").registration_of(decode(sent, schemas.RegisterBody))
    yield "what is claimed by a body", claim.colour
    yield "what an agent sends", msgspec.json.decode(client.body_of(claim))["colour"]
    catalog = part("registry_core.domain.catalog").Catalog()
    checked = part("registry_core.domain.registration").checked(claim)
    terms = part("registry_core.domain.leases").LeaseTerms()
    admitted = part("registry_core.domain.admission").admitted
    instance = admitted(checked, catalog, lambda _: 0.0, now=1.0, terms=terms).instance
    yield "what the memory store keeps", instance.colour
    yield (
        "what the Redis store sends",
        msgspec.json.decode(part("registry_core.domain.encoding").claim_json(claim))["colour"],
    )
    yield "what stands in Redis", rows.stored_in(rows.value_of(instance, rows.Order(1, 1))).instance.colour

    lived = part("registry_core.domain.catalog").Lived(instance, 1.0)
    cursor = part("registry_core.watch.cursor")
    lines, reader = part("registry_core.watch.lines"), part("registry_core.watch.reader")
    line = lines.snapshot_line(
        b"[" + lines.encoded_record(lived) + b"]",
        reason="start",
        first=True,
        last=True,
        state="ready",
        cursor=cursor.parse_cursor("0.e.1"),
        digest="",
    )
    (replaced,) = reader.WatchReader(cursor.Cursor()).feed(line)
    yield "what a watch brings", replaced.instances[0].instance.colour

    view = schemas.instance_view(instance, 1.0, 60.0)
    yield "what a lookup shows", msgspec.json.decode(msgspec.json.encode(view))["colour"]
    record = decode(
        msgspec.json.encode(copied_as(view, snapshot_file.SnapshotFileRecord)), snapshot_file.SnapshotFileRecord
    )
    yield "what is saved into a file", record.colour
    body = decode(msgspec.json.encode(record.body), schemas.RestoreBody)
    restored = part("registry_core.domain.restoration").checked_record(copied_as(body, records.Instance))
    yield "what is brought back", restored.colour

    sight = part("agent.registration.own_in_view")
    shown = msgspec.structs.replace(instance, epoch=0, colour="blue")
    own = msgspec.structs.replace(claim, epoch=0)
    seen = sight.sight(own, own.status, shown, is_current=True, is_complete=True)
    yield "what an agent compares", "red" if seen is sight.Sight.RECORD else "none"
    schema: Mapping[str, Any] = openapi.description("0")["components"]["schemas"]
    for name in ("RegisterBody", "RestoreBody", "InstanceView", "Instance"):
        yield f"{name} in the description", "red" if "colour" in schema[name]["properties"] else "none"


if __name__ == "__main__":
    add_the_field()
    for place, colour in colours():
        if colour != "red":
            sys.stdout.write(f"{place}: {colour}\n")
