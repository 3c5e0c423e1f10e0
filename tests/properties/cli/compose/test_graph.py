"""For any fleet's graph, its cycles and waves are those that a simple search finds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from cli.compose.audit import audit
from cli.compose.graph import components, reach
from cli.compose.reader import project_of
from cli.compose.waves import By, waves_of

NODES = [f"svc{n}" for n in range(7)]
graphs = st.dictionaries(st.sampled_from(NODES), st.sets(st.sampled_from(NODES), max_size=4)).map(
    lambda given: {node: sorted(given.get(node, ())) for node in NODES}
)


def reachable(needs: dict[str, list[str]], start: str) -> set[str]:
    """Return the nodes reachable from `start`, by trying again until nothing is new."""
    found = set(needs[start])
    while True:
        more = found | {target for node in found for target in needs[node]}
        if more == found:
            return found
        found = more


@given(graphs)
def test_components_reach_each_other_and_come_after_their_dependencies(needs: dict[str, list[str]]) -> None:
    found = components(needs)
    to = {node: reachable(needs, node) for node in NODES}
    assert sorted(node for group in found for node in group) == NODES
    at = {node: number for number, group in enumerate(found) for node in group}
    for a in NODES:
        for b in NODES:
            together = a == b or (b in to[a] and a in to[b])
            assert (at[a] == at[b]) == together
            if b in to[a] and not together:
                assert at[b] < at[a]
        assert reach(needs, a) == to[a] - {a}


@settings(max_examples=60)
@given(graphs, st.integers(1, 5), st.integers(1, 4))
def test_waves_keep_cycles_together_and_go_from_consumers_to_targets(
    needs: dict[str, list[str]], pilot: int, size: int
) -> None:
    services = "".join(
        f"  {node}: {{environment: [{', '.join(f'V{i}_URL=http://{t}:1' for i, t in enumerate(targets))}]}}\n"
        for node, targets in needs.items()
    )
    found = audit(project_of([("", f"services:\n{services}".encode())]))
    for by in By:
        waves = waves_of(found, by, pilot, size)
        at = {s.name: wave.number for wave in waves for s in wave.services}
        assert sorted(at) == NODES
        assert sum(len(wave.services) for wave in waves) == len(NODES)
        for node in NODES:
            for target in reachable(needs, node):
                if node in reachable(needs, target):
                    assert at[node] == at[target]
                elif by is By.DEPENDENCY:
                    assert at[node] <= at[target]
