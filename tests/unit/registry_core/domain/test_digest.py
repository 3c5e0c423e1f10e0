"""The digest covers the fields of one version, whatever other fields a record has."""

from __future__ import annotations

import msgspec

from registry_core.domain.catalog import Catalog
from registry_core.domain.digest import digest_number, digest_text, instance_digest
from registry_core.domain.records import Instance, Status
from tests.samples import instance, lived


class LaterInstance(Instance, frozen=True, kw_only=True, gc=False):
    """An instance as a later release may define it."""

    planet: str = "earth"


def test_a_field_of_a_later_release_changes_no_digest() -> None:
    record = instance(metadata={"b": 1, "a": {"d": 2, "c": [3]}}, tags=("x",), status=Status.WARNING, epoch=7)
    later = LaterInstance(**msgspec.structs.asdict(record), planet="mars")
    assert instance_digest(later) == instance_digest(record)


def test_the_digest_of_version_1_is_what_it_was_when_it_was_first_released() -> None:
    record = instance(metadata={"b": 1, "a": 2}, tags=("x", "y"), weight=3, registered_at=1764000000.5, suspect=True)
    assert digest_text(instance_digest(record)) == "ed88934cfb1312be"


def test_a_change_is_the_exclusive_or_of_before_and_after() -> None:
    catalog = Catalog()
    catalog.merge([lived(instance())])
    before = catalog.digest_number
    catalog.merge([lived(instance("billing"))])
    assert before ^ catalog.digest_number == instance_digest(instance("billing"))
    assert digest_number(catalog.digest) == catalog.digest_number


def test_an_invalid_digest_is_none() -> None:
    assert [digest_number(text) for text in ("", "x", "00ff")] == [None, None, 255]
