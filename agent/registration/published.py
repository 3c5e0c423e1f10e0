"""Decides under which addresses an instance is registered: those that pass its checks. Pure.

A host name may have several addresses, and a service may answer at some of them only. Each is checked, and each is
registered while it passes. When none passes, all stay, and the instance is critical.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from registry_core.domain.names import Reach, widest_reach

# Each change is a new registration, which every agent and client follows. An address that fails is withdrawn soon.
# One that has recovered can wait: the others serve.
WITHDRAW_AGAIN_S: Final = 5.0
ADD_AGAIN_S: Final = 30.0

_KINDS: Final = {
    Reach.MACHINE: "loopback, by which each machine means itself",
    Reach.LINK: "link-local, which means another machine on each network",
}


def published(candidates: tuple[str, ...], passing: Iterable[str]) -> tuple[str, ...]:
    """Return those of an instance's addresses that are `passing`; all of them when none is."""
    well = frozenset(passing)
    return tuple(address for address in candidates if address in well) or candidates


def may_change(before: tuple[str, ...], after: tuple[str, ...], since_s: float) -> bool:
    """Return whether an instance may be registered under other addresses, `since_s` seconds after the last change.

    A host that has moved, so that no address is left, changes at once.
    """
    remaining = set(before) & set(after)
    if not remaining:
        return True
    return since_s >= (WITHDRAW_AGAIN_S if len(remaining) < len(before) else ADD_AGAIN_S)


def refusal(host: str, addresses: tuple[str, ...], *, chosen: bool) -> str:
    """Return why `host` cannot be registered with a registry elsewhere, and the cure.

    `chosen` is whether the host comes from the settings; it is this machine's name otherwise.
    """
    if not chosen:
        said = f"SERVICE_HOST is not set, and this machine's name {host} is {addresses[0]}"
    elif host in addresses:
        said = f"SERVICE_HOST is {host}"
    else:
        said = f"SERVICE_HOST is {host}, and {host} is {addresses[0]}"
    return (
        f"{said}, which is {_KINDS[widest_reach(addresses)]}, but the registry is elsewhere; set SERVICE_HOST, or "
        f"host in its [[service]], to the address at which other machines reach it (example: SERVICE_HOST=10.0.0.7)"
    )
