"""The rotation of a root, in three steps, so that every certificate is trusted by everybody at every moment. Pure.

    steady -- announce --> announced -- sign --> signing -- retire --> steady

*Announce*: there is a new root, and verifiers get it with the old one; the old one still signs. *Sign*: an intermediate
of the new root signs; a cross-certificate by the old root goes along, for verifiers that have not heard of the new one.
*Retire*: once no certificate of the old root is left, verifiers no longer get it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from registry_core.errors import CallerError
from registry_core.security.authority.lifetimes import DAY_S, MAX_LIFETIME_S


class RotationStage(StrEnum):
    """Where a rotation stands."""

    STEADY = "steady"
    ANNOUNCED = "announced"
    SIGNING = "signing"


class RotationStep(StrEnum):
    """What is done next."""

    ANNOUNCE = "announce"
    SIGN = "sign"
    RETIRE = "retire"


NEXT: Final = {
    RotationStage.STEADY: RotationStep.ANNOUNCE,
    RotationStage.ANNOUNCED: RotationStep.SIGN,
    RotationStage.SIGNING: RotationStep.RETIRE,
}


class WrongStep(CallerError):
    """Raised when a step is not the next one, or comes too early. Its text says what to do instead."""


class AuthorityState(msgspec.Struct, frozen=True, kw_only=True):
    """What the folder of an authority records: its names, its roots by number, and which of them signs.

    The first root is the older. `since` is when the present stage began, in Unix seconds.
    """

    trust_domain: str
    zones: tuple[str, ...]
    roots: tuple[int, ...] = (1,)
    signing: int = 1
    since: float = 0.0

    @property
    def stage(self) -> RotationStage:
        if len(self.roots) == 1:
            return RotationStage.STEADY
        return RotationStage.SIGNING if self.signing == self.roots[-1] else RotationStage.ANNOUNCED


def after(
    state: AuthorityState, step: RotationStep, now: float, *, longest_s: float = MAX_LIFETIME_S
) -> AuthorityState:
    """Return the state after `step`. `longest_s` is the longest lifetime that a certificate of a service may have.

    Raises WrongStep.
    """
    due = NEXT[state.stage]
    if step is not due:
        raise WrongStep(f"the authority is {state.stage}: the next step is `vertice ca rotate {due}`, not {step}")
    match step:
        case RotationStep.ANNOUNCE:
            return msgspec.structs.replace(state, since=now, roots=(*state.roots, state.roots[-1] + 1))
        case RotationStep.SIGN:
            return msgspec.structs.replace(state, since=now, signing=state.roots[-1])
        case RotationStep.RETIRE:
            left_s = state.since + longest_s - now
            if left_s > 0:
                raise WrongStep(
                    f"certificates of the old root may be valid for another {left_s / DAY_S:.1f} days; wait, or give "
                    "the REGISTRY_CERT_LIFETIME that replicas really have: --lifetime 168h"
                )
            return msgspec.structs.replace(state, since=now, roots=state.roots[-1:])
