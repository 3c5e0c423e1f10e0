"""The dependencies in a fleet: edges, cycles, and a topological order.

Pure. Tarjan's algorithm (SIAM J. Comput. 1 (1972) 146-160), without recursion, since a chain of services
may be long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec


class Edge(msgspec.Struct, frozen=True):
    """`consumer` needs `target`: by the variables in `via`, or by `depends_on`."""

    consumer: str
    target: str
    via: tuple[str, ...]
    depends_on: bool


class Graph(msgspec.Struct, frozen=True):
    """A fleet's dependencies. `outside`: the hosts outside the file that each service calls."""

    nodes: tuple[str, ...]
    edges: tuple[Edge, ...]
    outside: tuple[tuple[str, str], ...] = ()

    def needs(self) -> dict[str, list[str]]:
        """Return for each service those that it needs, without itself."""
        found: dict[str, list[str]] = {node: [] for node in self.nodes}
        for edge in self.edges:
            if edge.consumer != edge.target:
                found[edge.consumer].append(edge.target)
        return found

    def needed_by(self) -> dict[str, list[str]]:
        """Return for each service those that need it, without itself."""
        found: dict[str, list[str]] = {node: [] for node in self.nodes}
        for edge in self.edges:
            if edge.consumer != edge.target:
                found[edge.target].append(edge.consumer)
        return found

    def cycles(self) -> list[tuple[str, ...]]:
        """Return the groups of services that need each other, in the order of the file."""
        return [group for group in components(self.needs()) if len(group) > 1]


def components(needs: Mapping[str, Iterable[str]]) -> list[tuple[str, ...]]:
    """Return the strongly connected components, dependencies first."""
    order = {node: at for at, node in enumerate(needs)}
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    found: list[tuple[str, ...]] = []
    for root in needs:
        if root in index:
            continue
        work = [(root, iter(needs[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, rest = work[-1]
            following = next(rest, None)
            if following is None:
                work.pop()
                if work:
                    parent = work[-1][0]
                    low[parent] = min(low[parent], low[node])
                if low[node] == index[node]:
                    at = _last(stack, node)
                    group = stack[at:]
                    del stack[at:]
                    on_stack.difference_update(group)
                    found.append(tuple(sorted(group, key=order.__getitem__)))
            elif following not in index:
                if following in needs:
                    index[following] = low[following] = len(index)
                    stack.append(following)
                    on_stack.add(following)
                    work.append((following, iter(needs[following])))
            elif following in on_stack:
                low[node] = min(low[node], index[following])
    return found


def _last(stack: list[str], node: str) -> int:
    # The group is on top of the stack, and usually small.
    at = len(stack) - 1
    while stack[at] != node:
        at -= 1
    return at


def reach(needed_by: Mapping[str, Iterable[str]], start: str) -> set[str]:
    """Return all that need `start`, directly or through others."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for node in needed_by[waiting.pop()]:
            if node not in found and node != start:
                found.add(node)
                waiting.append(node)
    return found
