"""Judges how long programs in Java keep an address, compared with how long a service waits before it leaves. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from cli.doctor.facts import Facts
from cli.doctor.finding import DoctorFinding, DoctorRule, DoctorSeverity

KEPT_LONGER = DoctorRule(
    "java-address-cache",
    DoctorSeverity.WARNING,
    "programs in Java here keep an address for {kept}, and a service that leaves waits AGENT_DRAIN_WAIT ({waits})",
    "they go on to call an instance that has stopped, until the time is over (`networkaddress.cache.ttl`)",
    "java -Dsun.net.inetaddr.ttl=5 ...    # or networkaddress.cache.ttl=5 in java.security; or AGENT_DRAIN_WAIT={most}",
)
KINDS: Final = (KEPT_LONGER,)


def judge(facts: Facts) -> Iterator[DoctorFinding]:
    """Return the finding on Java, if it keeps addresses for longer than a drain lasts."""
    kept_s, wait_s = facts.machine.java_keeps_s, facts.subject.drain_wait_s
    if kept_s is not None and kept_s > wait_s:
        for_ever = math.isinf(kept_s)
        kept = "ever" if for_ever else f"{kept_s:g} s"
        yield KEPT_LONGER.found(kept=kept, waits=f"{wait_s:g} s", most="30" if for_ever else f"{kept_s:g}")
