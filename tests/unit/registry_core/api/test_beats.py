"""The two forms of a heartbeat, and what becomes of one lease that was not renewed."""

from __future__ import annotations

import msgspec
import pytest

from registry_core.api.beats import beats_of, refusal_of
from registry_core.api.schemas import MAX_BEATS, BeatBody, BeatView, HeartbeatBody
from registry_core.domain.records import Instance
from registry_core.errors import Fenced, NotFound, ValidationError
from tests.samples import instance

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
    def refusal(
        status: str, owner: Instance | None = None, instance_id: str | None = "a:1"
    ) -> NotFound | Fenced | None:
        beat = BeatBody(service_name="ip_intel", instance_id=instance_id)
        return refusal_of(BeatView(service_name="ip_intel", instance_id=instance_id, status=status), beat, owner)

    assert refusal("renewed") is None
    assert refusal("unavailable") is None
    assert "'a:1' of 'ip_intel' is not registered: register it again" in str(refusal("unknown"))
    by_name = refusal("unknown", instance_id=None)
    assert "which instance of 'ip_intel' this client registered is not known" in str(by_name)
    owner = instance(epoch=7)
    fenced = refusal("fenced", owner)
    assert isinstance(fenced, Fenced)
    assert (fenced.holder, "newer owner, at 10.0.0.7:8034" in str(fenced)) == (owner.holder, True)
    lost = refusal("fenced")
    assert isinstance(lost, Fenced)
    assert lost.holder is msgspec.UNSET, "not the same as an owner that was removed"
