"""Judges names that are no settings: is one a misspelt setting, or does it belong to another program? Pure.

Environments hold many variables with prefixes like ours: Kubernetes and Docker add `AGENT_SERVICE_HOST` and
`REGISTRY_PORT_8888_TCP`, build systems add `AGENT_NAME`. So a name counts as misspelt only when it is a slip of the
keyboard away from a setting.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

# Other words of a few letters are too near to each other: HOME and ZONE, TASK and TAGS.
_LONG_WORD: Final = 6
_MOST_EDITS: Final = 2


def misspelt(name: str, known: Iterable[str]) -> str | None:
    """Return the one of `known` that `name` misspells, or None.

    A slip is one letter left out, added, replaced or exchanged with its neighbour in a word, in at most two words; two
    such letters in a long word behind a first word that is right; a missing or added `_`; other capitals, or `-` for
    `_`. A number that differs is a name of its own.
    """
    nearest: tuple[int, str] | None = None
    for other in known:
        distance = _slips(name, other)
        if distance is not None and (nearest is None or (distance, other) < nearest):
            nearest = (distance, other)
    return nearest[1] if nearest is not None else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean X?)` for a misspelt name, else nothing."""
    guess = misspelt(name, known)
    return f" (did you mean {guess}?)" if guess is not None else ""


def edits(one: str, other: str, most: int) -> int:
    """Return how many letters must be added, removed, replaced or exchanged with a neighbour; `most` + 1 when more.

    This is the restricted Damerau-Levenshtein distance.
    """
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, above, row = row, before, [i]
        for j, wanted in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, above[j - 2] + 1)
            row.append(cost)
    return min(row[-1], most + 1)


def _slips(name: str, known: str) -> int | None:
    """Return the number of slips between two names, or None when they are not near."""
    if name == known:
        return None
    if name.replace("-", "_").casefold() == known.casefold():
        return 0
    if name != (name.upper() if known.isupper() else name.lower()):
        return None
    words, wanted = name.replace("-", "_").split("_"), known.split("_")
    if len(words) != len(wanted):
        # Only a `_` may be missing or too many. A letter more would make other names near: SERVICE_A_PORT.
        return 1 if "".join(words) == "".join(wanted) else None
    total = 0
    for one, other in zip(words, wanted, strict=True):
        if one == other:
            continue
        is_long = min(len(one), len(other)) >= _LONG_WORD and words[0] == wanted[0] and one[0] == other[0]
        most = _MOST_EDITS if is_long else 1
        distance = edits(one, other, most)
        if distance > most or _differ_in_a_number(one, other):
            return None
        total += distance
    return total if total <= _MOST_EDITS else None


def _differ_in_a_number(one: str, other: str) -> bool:
    return any(letter.isdigit() for letter in set(one) ^ set(other))
