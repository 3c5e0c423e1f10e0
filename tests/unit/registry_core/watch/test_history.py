"""The history: which readers can resume from it, and with what."""

from __future__ import annotations

import msgspec
import pytest

from registry_core.domain.events import Position, Registered
from registry_core.watch.cursor import Cursor, cursor_of, parse_cursor
from registry_core.watch.history import History, HistoryEntry
from registry_core.watch.limits import FIRST_PROTOCOL, PROTOCOL
from tests.samples import instance
from tests.watch_lines import event


def entry(position: Position, stands_at: Cursor, service: str = "ip_intel", digest: int = 5) -> HistoryEntry:
    record = instance(service)
    line = event(Registered(position, record, 1.0), service, change=3)
    return HistoryEntry(position, record.key.label, line, stands_at, digest)


def history(*positions: str, most_events: int = 100, most_bytes: int = 1 << 20) -> tuple[History, Cursor]:
    """Return a history of these events, for shards that started at revision 0, and its position."""
    cursor = cursor_of([Position(0, "a", 0), Position(1, "b", 0)])
    made = History(most_events, most_bytes)
    made.clear(cursor)
    for text in positions:
        position = parse_cursor(text).positions[0]
        cursor = cursor.moved_to(position)
        made.add(entry(position, cursor))
    return made, cursor


def positions(lines: list[bytes]) -> list[str]:
    return [msgspec.json.decode(line)["position"] for line in lines]


def test_a_reader_gets_the_events_of_each_shard_after_its_cursor() -> None:
    ring, cursor = history("1.b.1", "0.a.1", "1.b.2", "0.a.2")
    seen = parse_cursor("0.a.1~1.b.2")
    assert ring.why_not(seen, cursor, PROTOCOL) is None
    assert positions(ring.after(seen, None, PROTOCOL)) == ["0.a.2"]
    assert positions(ring.after(parse_cursor("0.a.0~1.b.0"), None, PROTOCOL)) == ["1.b.1", "0.a.1", "1.b.2", "0.a.2"]


def test_a_reader_of_one_service_gets_its_events_only() -> None:
    ring, cursor = history("0.a.1")
    ring.add(entry(Position(0, "a", 2), cursor.moved_to(Position(0, "a", 2)), "billing"))
    assert positions(ring.after(parse_cursor("0.a.0~1.b.0"), "billing", PROTOCOL)) == ["0.a.2"]


def test_a_reader_of_version_1_gets_the_replicas_own_positions() -> None:
    ring, _ = history("1.b.1", "0.a.1")
    raw = [msgspec.json.decode(line) for line in ring.after(parse_cursor("0.a.0~1.b.0"), None, FIRST_PROTOCOL)]
    assert [one["cursor"] for one in raw] == ["0.a.0~1.b.1", "0.a.1~1.b.1"]
    assert [one["digest"] for one in raw] == ["0000000000000005"] * 2
    assert not any("position" in one or "change" in one for one in raw)


@pytest.mark.parametrize(
    ("cursor", "because"),
    [
        ("", "start"),
        ("0.a.1", "epoch"),
        ("0.a.1~1.x.1", "epoch"),
        ("0.a.1~2.b.1", "epoch"),
        ("0.a.0~1.b.1", "behind"),
        ("0.a.1~1.b.1", None),
    ],
)
def test_why_a_reader_cannot_go_on(cursor: str, because: str | None) -> None:
    ring, current = history("0.a.1", "1.b.1", "0.a.2", most_events=2)
    assert ring.why_not(parse_cursor(cursor), current, PROTOCOL) == because


def test_a_reader_that_is_ahead_continues_unless_it_uses_version_1() -> None:
    ring, current = history("0.a.1", "1.b.1")
    ahead = parse_cursor("0.a.5~1.b.1")
    assert ring.why_not(ahead, current, PROTOCOL) is None
    assert ring.after(ahead, None, PROTOCOL) == []
    assert ring.why_not(ahead, current, FIRST_PROTOCOL) == "epoch"


def test_it_is_bounded_in_bytes() -> None:
    one = len(entry(Position(0, "a", 1), Cursor()).line)
    ring, current = history(*(f"0.a.{n}" for n in range(1, 10)), most_bytes=3 * one)
    assert ring.why_not(parse_cursor("0.a.6~1.b.0"), current, PROTOCOL) is None
    assert ring.why_not(parse_cursor("0.a.5~1.b.0"), current, PROTOCOL) == "behind"
