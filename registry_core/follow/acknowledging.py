"""Up to where a follower may acknowledge its own watch: drains of which every reader of its own knows. Pure.

To its upstream a follower is one watcher. A drain that it acknowledges is known to all agents behind it, at any depth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from registry_core.domain.events import Position
from registry_core.watch.cursor import Cursor, cursor_of

# Drains that are looked at in one turn; more wait for the next one.
MAX_AT_ONCE = 64


def to_acknowledge(
    applied: Cursor, sent: Cursor, drains: Iterable[tuple[str, Cursor]], is_known: Callable[[str, Cursor], bool]
) -> Cursor | None:
    """Return the cursor to acknowledge now; None when no drain waits for one.

    `applied` is the view's, `sent` what was acknowledged last. `drains` are the label of each instance that drains and
    where that was announced, and `is_known` says whether all readers that follow the label have reached a cursor.
    """
    waiting = [(label, said_at) for label, said_at in drains if not sent.covers(said_at)]
    if not waiting:
        return None
    looked_at, later = waiting[:MAX_AT_ONCE], [said_at for _, said_at in waiting[MAX_AT_ONCE:]]
    known = [said_at for label, said_at in looked_at if is_known(label, said_at)]
    unknown = [said_at for _, said_at in looked_at if said_at not in known]
    cursor = before(applied, [*unknown, *later])
    return cursor if any(cursor.covers(said_at) for said_at in known) else None


def before(applied: Cursor, unknown: Iterable[Cursor]) -> Cursor:
    """Return the largest cursor up to `applied` that covers none of the positions in `unknown`."""
    least: dict[tuple[int, str], int] = {}
    for said_at in unknown:
        for one in said_at.positions:
            place = (one.shard, one.epoch)
            least[place] = min(one.revision, least.get(place, one.revision))
    return cursor_of(
        Position(one.shard, one.epoch, revision)
        for one in applied.positions
        if (revision := min(one.revision, least.get((one.shard, one.epoch), one.revision + 1) - 1)) >= 0
    )
