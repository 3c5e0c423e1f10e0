"""Judges the registry as seen from here: reachable, a registry, ready, its clock, the token. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cli.doctor.facts import Facts, RegistrySeen
from cli.doctor.finding import DoctorFinding, DoctorRule, DoctorSeverity
from registry_core.causes import TLS_CAUSES

CLOCK_NOTE_S: Final = 2.0
CLOCK_WARNING_S: Final = 60.0
MAX_REASONS: Final = 4

FINE = DoctorRule("registry", DoctorSeverity.OK, "the registry at {url} answers{version}")
AWAY = DoctorRule(
    "registry-away",
    DoctorSeverity.ERROR,
    "the registry at {url} cannot be used: {problem}",
    "no address in REGISTRY_URL works: nothing is registered, and no changes arrive",
    "REGISTRY_URL=http://10.0.0.2:8888    # its real address; try curl -v {url}/ready",
)
ONE_AWAY = DoctorRule(
    "registry-one-away",
    DoctorSeverity.WARNING,
    "one of several registries, {url}, cannot be used: {problem}",
    "the agent uses the next one, and has one fewer to fall back to",
    "curl -v {url}/ready    # or remove it from REGISTRY_URL",
)
TLS = DoctorRule(
    "registry-tls",
    DoctorSeverity.ERROR,
    "TLS cannot be set up with the registry at {url}: {problem}",
    "the agent sends it nothing, neither registrations nor secrets",
    "REGISTRY_CA=/path/ca.pem    # or REGISTRY_TLS_NAME; try curl -v --cacert /path/ca.pem {url}/ready",
)
HTTPS_ONLY = DoctorRule(
    "registry-https",
    DoctorSeverity.ERROR,
    "the registry at {url} speaks HTTPS only",
    "everything that is sent there is refused",
    "REGISTRY_URL={https_url}    # and REGISTRY_CA, if its authority is not one of the system's",
)
DEAD_ADDRESSES = DoctorRule(
    "registry-address",
    DoctorSeverity.WARNING,
    "the name in {url} has several addresses, but {addresses} does not answer",
    "connections that try it first wait for their timeout",
    "remove {addresses} from that name's DNS records, or repair it",
)
NOT_READY = DoctorRule(
    "registry-not-ready",
    DoctorSeverity.WARNING,
    "the registry at {url} is not ready yet (state: {state})",
    "it cannot answer lookups until it has read its store",
    "curl {url}/health    # shows what it waits for",
)
WARMING = DoctorRule(
    "registry-warming",
    DoctorSeverity.NOTE,
    "the registry at {url} started empty a moment ago and does not know all services yet",
    "it answers 'not known yet' for missing names",
    "none needed: agents register again by themselves (REGISTRY_WARMING)    # if it lasts: curl {url}/health",
)
CLOCK = DoctorRule("clock", DoctorSeverity.OK, "this clock and that of {url} agree within {ahead}")
CLOCK_OFF = DoctorRule(
    "clock-differs",
    DoctorSeverity.NOTE,
    "the clock of {url} is {ahead} {direction} this one",
    "leases do not depend on it, but the times in both logs do not match",
    "timedatectl set-ntp true    # on both hosts",
)
CLOCK_FAR_OFF = DoctorRule(
    "clock-wrong",
    DoctorSeverity.WARNING,
    "the clock of {url} is {ahead} {direction} this one",
    "certificates depend on the clock, and so does which of two agents of an instance counts as newer",
    "timedatectl set-ntp true    # on the host with the wrong clock",
)
TOKEN = DoctorRule("token", DoctorSeverity.OK, "the registry at {url} accepts writes with this token")
TOKEN_MISSING = DoctorRule(
    "token-missing",
    DoctorSeverity.ERROR,
    "the registry at {url} requires a token, but none is set",
    "every registration is refused (401)",
    "REGISTRY_SECRET=...    # as at the registry",
)
TOKEN_WRONG = DoctorRule(
    "token-wrong",
    DoctorSeverity.ERROR,
    "the registry at {url} refuses this token ({status})",
    "every registration is refused",
    "REGISTRY_SECRET=...    # as at the registry",
)
NO_WRITES = DoctorRule(
    "registry-no-writes",
    DoctorSeverity.WARNING,
    "the registry at {url} accepts no writes at the moment ({status})",
    "lookups continue; registrations and heartbeats are retried until its store is back",
    "curl {url}/health    # shows what is wrong with its store",
)
DEGRADED = DoctorRule(
    "registry-degraded",
    DoctorSeverity.NOTE,
    "the registry at {url} is {health}: {reason}",
    "it says so itself, and works on",
    "curl {url}/health    # shows the state of each part",
)
UNHEALTHY = DoctorRule(
    "registry-unhealthy",
    DoctorSeverity.WARNING,
    "the registry at {url} is {health}: {reason}",
    "it says so itself; registrations may fail, and lookups continue from what it knows",
    "curl {url}/health    # shows the state of each part",
)
KINDS: Final = (
    *(
        FINE,
        AWAY,
        ONE_AWAY,
        TLS,
        HTTPS_ONLY,
        DEAD_ADDRESSES,
        NOT_READY,
        DEGRADED,
        UNHEALTHY,
        WARMING,
        CLOCK,
        CLOCK_OFF,
        CLOCK_FAR_OFF,
    ),
    *(TOKEN, TOKEN_MISSING, TOKEN_WRONG, NO_WRITES),
)


def judge(facts: Facts) -> Iterator[DoctorFinding]:
    """Return the findings on every registry address that was probed."""
    any_good = any(not seen.problem for seen in facts.registries)
    for seen in facts.registries:
        if seen.wants_tls:
            yield HTTPS_ONLY.found(url=seen.url, https_url=seen.url.replace("http:", "https:", 1))
            continue
        if seen.problem in TLS_CAUSES:
            yield TLS.found(url=seen.url, problem=seen.problem)
            continue
        if seen.problem:
            yield (ONE_AWAY if any_good else AWAY).found(url=seen.url, problem=seen.problem)
            continue
        if seen.is_ready:
            yield FINE.found(url=seen.url, version=f", version {seen.version}" if seen.version else "")
        else:
            yield NOT_READY.found(url=seen.url, state=seen.state)
        for reason in seen.reasons[:MAX_REASONS]:
            yield (UNHEALTHY if seen.health == "unhealthy" else DEGRADED).found(
                url=seen.url, health=seen.health, reason=reason
            )
        if seen.state == "warming":
            yield WARMING.found(url=seen.url)
        if seen.dead_addresses:
            yield DEAD_ADDRESSES.found(url=seen.url, addresses=", ".join(seen.dead_addresses))
        yield from _clock(seen)
        yield from _token(seen, has_token=facts.subject.has_token)


def _clock(seen: RegistrySeen) -> Iterator[DoctorFinding]:
    if seen.ahead_s is None:
        return
    # Only the certain part counts: a slow answer must not look like a wrong clock.
    surely_s = max(0.0, abs(seen.ahead_s) - seen.error_s)
    kind = CLOCK_FAR_OFF if surely_s > CLOCK_WARNING_S else CLOCK_OFF if surely_s > CLOCK_NOTE_S else CLOCK
    shown = f"{abs(seen.ahead_s):.0f} s" if kind is not CLOCK else f"{CLOCK_NOTE_S:g} s"
    yield kind.found(url=seen.url, ahead=shown, direction="ahead of" if seen.ahead_s > 0 else "behind")


def _token(seen: RegistrySeen, *, has_token: bool) -> Iterator[DoctorFinding]:
    match seen.write_status:
        case None:
            return
        case 401 | 403:
            yield (TOKEN_WRONG if has_token else TOKEN_MISSING).found(url=seen.url, status=seen.write_status)
        case status if status >= 500:
            yield NO_WRITES.found(url=seen.url, status=status)
        case _:  # 404: the registry looked for the nonexistent instance
            yield TOKEN.found(url=seen.url)
