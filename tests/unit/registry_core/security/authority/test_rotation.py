"""The steps of a rotation: every state and step, and what each leads to."""

from __future__ import annotations

import itertools

import pytest

from registry_core.security.authority.lifetimes import DAY_S
from registry_core.security.authority.rotation import (
    NEXT,
    AuthorityState,
    RotationStage,
    RotationStep,
    WrongStep,
    after,
)

NOW = 1_800_000_000.0
STEADY = AuthorityState(trust_domain="fleet.example", zones=("a.b",), since=NOW)
ANNOUNCED = after(STEADY, RotationStep.ANNOUNCE, NOW)
SIGNING = after(ANNOUNCED, RotationStep.SIGN, NOW)
STATES = {RotationStage.STEADY: STEADY, RotationStage.ANNOUNCED: ANNOUNCED, RotationStage.SIGNING: SIGNING}


@pytest.mark.parametrize(("stage", "step"), list(itertools.product(RotationStage, RotationStep)))
def test_each_stage_takes_its_own_step_and_no_other(stage: RotationStage, step: RotationStep) -> None:
    state = STATES[stage]
    assert state.stage is stage
    if step is NEXT[stage]:
        assert after(state, step, NOW + 91 * DAY_S).stage is not stage
    else:
        with pytest.raises(WrongStep, match=f"the next step is `vertice ca rotate {NEXT[stage]}`"):
            after(state, step, NOW + 91 * DAY_S)


def test_the_old_root_stays_trusted_until_its_last_certificate_has_ended() -> None:
    for state in (ANNOUNCED, SIGNING):
        assert state.roots == (1, 2)
    assert (ANNOUNCED.signing, SIGNING.signing) == (1, 2)
    with pytest.raises(WrongStep, match=r"another 7\.0 days"):
        after(SIGNING, RotationStep.RETIRE, NOW, longest_s=7 * DAY_S)
    ended = after(SIGNING, RotationStep.RETIRE, NOW + 7 * DAY_S, longest_s=7 * DAY_S)
    assert (ended.roots, ended.signing, ended.stage) == ((2,), 2, RotationStage.STEADY)
    assert after(ended, RotationStep.ANNOUNCE, NOW).roots == (2, 3)
