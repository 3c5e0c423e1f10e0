"""The setting of the secret that a registry shares with its agents and with the command line: one for all of them."""

from __future__ import annotations

from typing import Final

from registry_core.settings import Setting, items, secret

MAX_SECRETS: Final = 2


def one_or_two_secrets(value: str) -> tuple[str, ...]:
    """Read a secret, or two that are both valid while one replaces the other."""
    found = items(secret)(value)
    if not 1 <= len(found) <= MAX_SECRETS:
        raise ValueError(f"it takes one or {MAX_SECRETS} secrets, comma-separated")
    return found


SECRET: Final[Setting[tuple[str, ...]]] = Setting(
    "REGISTRY_SECRET",
    one_or_two_secrets,
    (),
    "the secret that the registry and its agents share; two, comma-separated, while it is being changed: the registry "
    "accepts both, agents and commands use the first, and the second where the first is refused",
    "a-long-random-word",
    secret=True,
    aliases=("VERTICE_REGISTRY_TOKEN",),
)


def sent(secrets: tuple[str, ...]) -> str:
    """Return the secret that is sent to a registry; empty when there is none."""
    return secrets[0] if secrets else ""
