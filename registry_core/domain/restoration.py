"""Restores saved records: adds the missing ones, and leaves the existing ones alone. Pure.

A saved record is older than anything the registry knows. So it never replaces a record of the same or a
newer owner (epoch), and, unlike a registration, it never takes over an address, not even from a holder
that is overdue or failing: that holder registered after the record was saved.
"""

from __future__ import annotations

import enum
import math
from typing import Final

from registry_core.domain import names
from registry_core.domain.admission import address_taken, name_taken
from registry_core.domain.catalog import Catalog
from registry_core.domain.records import Instance, Registration, copied_as
from registry_core.domain.registration import DEFAULT_RULES, Rules, checked
from registry_core.errors import ValidationError

# The year 5138. A later time is most likely in milliseconds instead of seconds.
MAX_REGISTERED_AT: Final = 1e11


class RestoreOutcome(enum.StrEnum):
    """The result of restoring a record."""

    RESTORED = "restored"  # it was missing, or held by an older owner
    PRESENT = "present"  # the same owner is registered, and newer than the saved record
    NEWER = "newer"  # a newer owner is registered


def outcome_of(saved: Instance, held: Instance | None) -> RestoreOutcome:
    """Return the result of restoring `saved` when `held` is registered under its key."""
    if held is None or held.epoch < saved.epoch:
        return RestoreOutcome.RESTORED
    return RestoreOutcome.PRESENT if held.epoch == saved.epoch else RestoreOutcome.NEWER


def restored(saved: Instance, catalog: Catalog) -> RestoreOutcome:
    """Return the result of restoring `saved` (already checked) into `catalog`.

    Raises Conflict when the name or the address belongs to another instance.
    """
    service = catalog.find(saved.service_name)
    if service is not None and service.name != saved.service_name:
        raise name_taken(saved.service_name, service.name)
    outcome = outcome_of(saved, catalog.get(saved.key))
    if outcome is RestoreOutcome.RESTORED:
        holder = next((one for one in catalog.holders(saved.sockets) if one.key != saved.key), None)
        if holder is not None:
            raise address_taken(saved, holder)
    return outcome


def checked_record(saved: Instance, rules: Rules = DEFAULT_RULES) -> Instance:
    """Return `saved` as it would be restored: checked like a registration, and no longer suspect.

    Raises ValidationError for the first field that breaks a rule.
    """
    claim = checked(copied_as(saved, Registration), rules)
    if not (math.isfinite(saved.registered_at) and 0 <= saved.registered_at <= MAX_REGISTERED_AT):
        raise ValidationError(
            "registered_at is in Unix seconds", field="registered_at", provided=saved.registered_at, example=1764000000
        )
    return copied_as(claim, Instance, registered_at=saved.registered_at)


def what(saved: Instance) -> str:
    """Return a readable name for `saved`."""
    return f"{names.label_of(saved.service_name)}/{saved.instance_id}"
