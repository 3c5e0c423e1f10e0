"""The two forms of a heartbeat: one lease, or many at once."""

from __future__ import annotations

import msgspec

from registry_core.api.schemas import MAX_BEATS, BeatBody, BeatView, HeartbeatBody
from registry_core.domain.names import NAME_EXAMPLE
from registry_core.domain.records import Instance
from registry_core.errors import Fenced, NotFound, ValidationError


def beats_of(body: HeartbeatBody) -> tuple[tuple[BeatBody, ...], str]:
    """Return the beats of a body, and the prefix of their field names, which takes the beat's index.

    Raises ValidationError for a body that has both forms, neither, or too many.
    """
    if body.instances is None:
        if body.service_name is None:
            raise ValidationError("a heartbeat names its service", field="service_name", example=NAME_EXAMPLE)
        return (BeatBody(service_name=body.service_name, instance_id=body.instance_id, epoch=body.epoch),), ""
    if body.service_name is not None or body.instance_id is not None or body.epoch is not None:
        raise ValidationError(
            "a heartbeat is of one instance (service_name) or of many (instances), not both",
            field="instances",
            example=[{"service_name": NAME_EXAMPLE, "instance_id": "10.0.0.7:8034"}],
        )
    if not 1 <= len(body.instances) <= MAX_BEATS:
        raise ValidationError(
            f"a heartbeat is of 1 to {MAX_BEATS} instances",
            field="instances",
            provided=f"{len(body.instances)} instances",
            example=[{"service_name": NAME_EXAMPLE, "instance_id": "10.0.0.7:8034"}],
        )
    return body.instances, "instances[{}]."


def refusal_of(result: BeatView, beat: BeatBody, owner: Instance | None) -> NotFound | Fenced | None:
    """Return why a lease was not renewed, where that is the caller's part: it is unknown, or has a newer `owner`."""
    which = f"instance {beat.instance_id!r} of " if beat.instance_id is not None else ""
    if result.status == "unknown" and beat.instance_id is None:
        return NotFound(
            f"which instance of {beat.service_name!r} this client registered is not known, if any: register it again",
            field="service_name",
            provided=beat.service_name,
        )
    if result.status == "unknown":
        return NotFound(
            f"{which}{beat.service_name!r} is not registered: register it again",
            field="instance_id",
            provided=beat.instance_id,
        )
    if result.status == "fenced":
        where = "" if owner is None else f", at {owner.holder}"
        return Fenced(
            f"{which}{beat.service_name!r} has a newer owner{where}: stop asserting it",
            field="epoch",
            provided=beat.epoch,
            holder=msgspec.UNSET if owner is None else owner.holder,
        )
    return None
