"""Rights: the one table of which role may do what, and the one place that answers whether an identity may. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from registry_core.domain.names import label_of
from registry_core.security.identities import Identity, Role


class Right(StrEnum):
    """One thing that a request may do; each route of a port needs exactly one."""

    BE_PROBED = "be-probed"  # live, ready, the description: nothing of the fleet
    LOOK_UP = "look-up"  # services, the catalogue, the watch
    OBSERVE = "observe"  # health in detail, metrics, guards
    ACKNOWLEDGE = "acknowledge"  # say how far an own watch has come
    WRITE = "write"  # register, renew, set the status of, and remove an instance
    RESTORE = "restore"  # put saved registrations back, of any service
    RELEASE_GUARD = "release-guard"
    SET_LOG_LEVEL = "set-log-level"  # see and change at which levels a program logs
    CERTIFY = "certify"  # get a certificate for a service
    DENY = "deny"  # put certificates on the deny list
    TEND = "tend"  # take an agent's own services out of use, and see how that stands
    REPORT_USAGE = "report-usage"  # say how an agent is, and what its programs asked for
    REPORT = "report"  # say how an agent's own service is
    AUDIT = "audit"  # read the audit log
    WITNESS = "witness"  # exchange signed heads of audit logs
    SPEAK_FOR_OTHERS = "speak-for-others"  # name the client of a request that is passed on, report for others


# What each right lets one do, for the table in docs/reference.
MEANINGS: Final[Mapping[Right, str]] = {
    Right.BE_PROBED: "ask whether the process lives and is ready, and for its description",
    Right.LOOK_UP: "look services up: lists, one service, the catalogue, the watch, drains",
    Right.OBSERVE: "see health in detail, metrics and guards",
    Right.ACKNOWLEDGE: "say how far an own watch has come",
    Right.WRITE: "register, renew, set the status of, and remove an instance",
    Right.RESTORE: "put saved registrations back, of any service",
    Right.RELEASE_GUARD: "release the guard against mass expiry",
    Right.SET_LOG_LEVEL: "see and change at which levels a program logs",
    Right.CERTIFY: "get a certificate for a service",
    Right.DENY: "put certificates on the deny list",
    Right.TEND: "take an agent's own services out of use, and see how that stands",
    Right.REPORT_USAGE: "say how an agent is, and which services its programs asked for",
    Right.REPORT: "say how an agent's own service is",
    Right.AUDIT: "read the audit log",
    Right.WITNESS: "exchange signed heads of audit logs",
    Right.SPEAK_FOR_OTHERS: "name the client of a request that is passed on, and report for its agents",
}

_ALL: Final = frozenset(Role)
_KNOWN: Final = _ALL - {Role.ANYONE}
MAY: Final[Mapping[Right, frozenset[Role]]] = {
    Right.BE_PROBED: _ALL,
    Right.LOOK_UP: _KNOWN,
    Right.OBSERVE: _KNOWN,
    Right.ACKNOWLEDGE: _KNOWN,
    Right.WRITE: frozenset({Role.SERVICE, Role.OPERATOR}),
    Right.RESTORE: frozenset({Role.OPERATOR}),
    Right.RELEASE_GUARD: frozenset({Role.OPERATOR}),
    Right.SET_LOG_LEVEL: frozenset({Role.LOCAL, Role.OPERATOR}),
    Right.CERTIFY: frozenset({Role.SERVICE, Role.OPERATOR}),
    Right.DENY: frozenset({Role.OPERATOR}),
    Right.TEND: frozenset({Role.LOCAL, Role.OPERATOR}),
    Right.REPORT_USAGE: frozenset({Role.SERVICE, Role.OPERATOR, Role.REPLICA}),
    Right.REPORT: frozenset({Role.LOCAL, Role.OPERATOR}),
    Right.AUDIT: frozenset({Role.OPERATOR}),
    Right.WITNESS: frozenset({Role.OPERATOR, Role.REPLICA, Role.FOLLOWER}),
    Right.SPEAK_FOR_OTHERS: frozenset({Role.FOLLOWER, Role.OPERATOR}),
}
# A service has these for itself alone.
FOR_ITSELF: Final = frozenset({Right.WRITE, Right.CERTIFY, Right.REPORT_USAGE})
# What everybody may while REGISTRY_READ is `open`.
OPEN_READS: Final = frozenset({Right.LOOK_UP, Right.OBSERVE, Right.ACKNOWLEDGE})


def permits(identity: Identity, right: Right, service: str | None = None, *, reads_are_open: bool = False) -> bool:
    """Return whether `identity` has `right`, concerning `service` where that is given.

    Without a service the question is whether the identity may have the right at all: a route asks that before it has
    read the body, and once more when it knows the service.
    """
    if reads_are_open and right in OPEN_READS:
        return True
    if identity.role not in MAY[right]:
        return False
    if service is None or identity.role is not Role.SERVICE or right not in FOR_ITSELF:
        return True
    return label_of(service) == label_of(identity.service)
