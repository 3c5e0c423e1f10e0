"""The two forms of a heartbeat, and what becomes of one lease that was not renewed."""

from __future__ import annotations

import pytest

from registry_core.api.beats import beats_of, raise_for_single
from registry_core.api.schemas import MAX_BEATS, BeatBody, BeatView, HeartbeatBody
from registry_core.errors import Fenced, NotFound, ValidationError

BEAT = BeatBody(service_name="ip_intel", instance_id="a:1", epoch=5)


def test_both_forms_are_read() -> None:
    single = HeartbeatBody(service_name="ip_intel", instance_id="a:1", epoch=5)
    assert beats_of(single) == ((BEAT,), "")
    assert beats_of(HeartbeatBody(instances=(BEAT, BEAT))) == ((BEAT, BEAT), "instances[{}].")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (HeartbeatBody(), "service_name"),
        (HeartbeatBody(service_name="ip_intel", instances=(BEAT,)), "instances"),
        (HeartbeatBody(instances=()), "instances"),
        (HeartbeatBody(instances=(BEAT,) * (MAX_BEATS + 1)), "instances"),
    ],
)
def test_other_forms_are_refused(body: HeartbeatBody, field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        beats_of(body)
    assert refused.value.field == field


def test_a_lease_that_was_not_renewed_says_what_to_do() -> None:
    raise_for_single(BeatView(service_name="ip_intel", instance_id="a:1", status="renewed"), BEAT)
    with pytest.raises(NotFound, match="'a:1' of 'ip_intel' is not registered: register it again"):
        raise_for_single(BeatView(service_name="ip_intel", instance_id="a:1", status="unknown"), BEAT)
    with pytest.raises(NotFound, match="which instance of 'ip_intel' this client registered is not known"):
        raise_for_single(
            BeatView(service_name="ip_intel", instance_id=None, status="unknown"), BeatBody(service_name="ip_intel")
        )
    with pytest.raises(Fenced, match="newer owner"):
        raise_for_single(BeatView(service_name="ip_intel", instance_id="a:1", status="fenced"), BEAT)
