"""Judges whether programs that follow the environment's proxy variables still reach this machine. Pure.

The agent itself ignores them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cli.doctor.facts import Facts
from cli.doctor.finding import DoctorFinding, DoctorRule, DoctorSeverity

NAMES: Final = ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
EXCEPT: Final = ("NO_PROXY", "no_proxy")

FINE = DoctorRule("proxy", DoctorSeverity.OK, "{variable} is set, but not for localhost and {zone}")
CATCHES = DoctorRule(
    "proxy-catches",
    DoctorSeverity.WARNING,
    "{variable} is set, and NO_PROXY does not exclude {caught}",
    "curl and most HTTP libraries send these requests to the proxy, which cannot reach them; the agent uses no proxy",
    "NO_PROXY=localhost,127.0.0.1,.{zone}",
)
KINDS: Final = (FINE, CATCHES)


def judge(facts: Facts) -> Iterator[DoctorFinding]:
    """Return the findings on the proxies, if there are any."""
    variable = next((name for name in NAMES if facts.proxies.get(name)), None)
    if variable is None:
        return
    zone = facts.subject.zone
    spared = [
        entry.strip().lower() for name in EXCEPT for entry in facts.proxies.get(name, "").split(",") if entry.strip()
    ]
    caught = [host for host in ("localhost", "127.0.0.1", f"*.{zone}") if not _is_spared(host, spared)]
    if caught:
        yield CATCHES.found(variable=variable, caught=", ".join(caught), zone=zone)
    else:
        yield FINE.found(variable=variable, zone=zone)


def _is_spared(host: str, spared: list[str]) -> bool:
    # All programs support suffixes and `*`; most support networks such as 127.0.0.0/8.
    for entry in spared:
        suffix = entry.removeprefix("*").removeprefix(".")
        if entry == "*" or host == suffix or host.endswith(f".{suffix}"):
            return True
        if host == "127.0.0.1" and entry == "127.0.0.0/8":
            return True
    return False
