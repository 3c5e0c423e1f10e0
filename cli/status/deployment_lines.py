"""The state of a deployment, in lines for people. Pure: it reads the bodies of `/deployment` and `/agents`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from cli.durations import lag, lasting
from cli.plurals import counted
from cli.table import aligned
from cli.terminal import printable
from registry_core.domain.chain import MAX_DEPTH

# The order of statuses for people; others follow.
_STATUSES: Final = ("passing", "warning", "critical", "draining", "maintenance")
_FRESHNESS: Final = ("fresh", "stale", "expired")
_INDENT: Final = " " * 12
MAX_REASONS: Final = 12
# Of the random id of a follower; nobody needs to reach it, so it has no URL.
_ID_SHOWN: Final = 8


def deployment_lines(url: str, said: Mapping[str, Any], agents: Mapping[str, Any] | None) -> Iterator[str]:
    """Return the lines: what is wrong first, then replicas, shards, agents, services, guards and certificates.

    `agents` is None when the registry does not say which it has.
    """
    yield f"deployment  {url}: {said['status']}"
    reasons = said["reasons"]
    for reason in reasons[:MAX_REASONS]:
        yield f"{_INDENT}{printable(str(reason))}"
    if len(reasons) > MAX_REASONS:
        yield f"{_INDENT}and {len(reasons) - MAX_REASONS} more: -o json has all"
    yield from _replicas(said["replicas"], said["silent"])
    yield from _followers(said["replicas"])
    yield from _shards(said["shards"])
    yield from _agents(agents)
    yield from _services(said["services"])
    yield f"guard       {_guard(said['guard'], said['suspects'])}"
    yield f"tls         {_certificates(said)}"


def _replicas(replicas: Sequence[Mapping[str, Any]], silent: Sequence[str]) -> Iterator[str]:
    total = len(replicas) + len(silent)
    away = f", {len(silent)} of them silent" if silent else ""
    yield f"replicas    {counted(total, 'replica')}{away}"
    rows = [("  REPLICA", "ZONE", "VERSION", "HEALTH", "STATE", "UP", "WATCHES", "VIEW")]
    rows += [
        (
            f"  {one['url'] or one['id']}",
            one["zone"] or "-",
            one["version"] or "earlier",
            one["status"],
            one["state"],
            lasting(one["uptime_seconds"]),
            str(one["watchers"]),
            f"{lag(one['view_age_seconds'])} old",
        )
        for one in replicas
    ]
    rows += [(f"  {url}", "-", "-", "silent", "-", "-", "-", "-") for url in silent]
    yield from _table(rows)


def _followers(replicas: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a table of the followers, each below the one that it follows; nothing where there are none."""
    rows = list(_below(replicas, 0))
    left_out = sum(one.get("followers_left_out", 0) for one in replicas)
    if not rows and not left_out:
        return
    more = f", and {left_out} that are not shown" if left_out else ""
    yield f"followers   {counted(len(rows), 'follower')}{more}"
    yield from _table([("  FOLLOWER", "FOLLOWS", "ZONE", "VERSION", "HEALTH", "STATE", "UP", "WATCHES", "VIEW"), *rows])


def _below(replicas: Sequence[Mapping[str, Any]], depth: int) -> Iterator[tuple[str, ...]]:
    if depth > MAX_DEPTH:
        return
    for replica in replicas:
        for one in replica.get("followers", ()):
            yield (
                f"  {'  ' * depth}{_follower_name(one)}",
                str(replica["url"] or _follower_name(replica)),
                one["zone"] or "-",
                one["version"] or "earlier",
                one["status"],
                one["state"],
                lasting(one["uptime_seconds"]),
                str(one["watchers"]),
                f"{lag(one['view_age_seconds'])} old",
            )
            yield from _below([one], depth + 1)


def _follower_name(one: Mapping[str, Any]) -> str:
    address = one.get("address") or ""
    return f"{one['id'][:_ID_SHOWN]} {address}".rstrip()


def _shards(shards: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not shards:
        yield "store       in the replica's memory"
        return
    yield f"shards      {counted(len(shards), 'shard')}"
    rows = [("  SHARD", "MASTER", "LAG", "BREAKER", "WAITING", "PROBLEM")]
    rows += [
        (
            f"  {one['shard']}",
            one["master"] or "none",
            lag(one["lag_seconds"]),
            one["breaker"],
            str(one["writes_waiting"]),
            one["problem"] or "-",
        )
        for one in shards
    ]
    yield from _table(rows)


def _agents(agents: Mapping[str, Any] | None) -> Iterator[str]:
    if agents is None:
        yield "agents      unknown: this registry does not say"
        return
    living = [one for one in agents["agents"] if one["state"] != "ended"]
    silent = sum(one["state"] == "silent" for one in living)
    notes = [f"{silent} silent"] if silent else []
    if agents["unreported"]:
        notes.append(f"and {counted(agents['unreported'], 'watch', 'watches')} of agents that do not report")
    yield f"agents      {', '.join([counted(len(living), 'agent'), *notes])}"
    counts: dict[str, Counter[str]] = {}
    for one in living:
        counts.setdefault(str(one["version"] or "earlier"), Counter())[str(one["freshness"])] += 1
    if counts:
        further = sorted({name for found in counts.values() for name in found} - set(_FRESHNESS))
        names = (*_FRESHNESS, *further)
        rows = [("  VERSION", "AGENTS", *(name.upper() for name in names))]
        rows += [
            (f"  {version}", str(found.total()), *(str(found[name]) for name in names))
            for version, found in sorted(counts.items())
        ]
        yield from _table(rows)


def _services(services: Mapping[str, Any]) -> Iterator[str]:
    by_status = services["by_status"]
    ordered = [*(name for name in _STATUSES if name in by_status), *sorted(by_status.keys() - set(_STATUSES))]
    parts = ", ".join(f"{by_status[name]} {name}" for name in ordered)
    instances = counted(services["instances"], "instance")
    yield f"services    {counted(services['services'], 'service')}, {instances}{f': {parts}' if parts else ''}"
    unusable = services["unusable"]
    if unusable:
        none_usable = services["services"] - services["usable"]
        more = f" and {none_usable - len(unusable)} more" if none_usable > len(unusable) else ""
        yield f"{_INDENT}nothing passes: {printable(', '.join(map(str, unusable)))}{more}"


def _guard(phase: str, suspects: int) -> str:
    if phase == "clear":
        return "clear"
    return f"{phase}: {counted(suspects, 'instance')} kept as suspect (vertice guard status says more)"


def _certificates(said: Mapping[str, Any]) -> str:
    ends = sorted(
        (one["certificate_ends"], one["url"] or one["id"]) for one in said["replicas"] if one["certificate_ends"]
    )
    if not ends:
        return "no TLS on the replicas' ports"
    first, whose = ends[0]
    left_s = (datetime.fromisoformat(first) - datetime.fromisoformat(said["timestamp"])).total_seconds()
    when = f"in {lasting(left_s)}" if left_s > 0 else "ALREADY"
    return f"the first certificate ends {when} ({first}): {printable(whose)}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    return aligned([[printable(str(cell)) for cell in row] for row in rows])
