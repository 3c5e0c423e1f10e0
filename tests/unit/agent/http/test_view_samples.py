"""What the metrics say of the view, its guards and its limits."""

from __future__ import annotations

from agent.http.view_samples import guard_samples, limit_samples
from tests.unit.agent.http.test_about import FLEET, Agent, everything, healthy


def guards(agent: Agent) -> dict[tuple[str, ...], float]:
    state = next(iter(guard_samples(agent.view, agent.session)))
    assert state.name == "agent_guard_state"
    return {labels: value for labels, value in state.values.items() if isinstance(value, float)}


def test_a_guard_is_clear_or_holding() -> None:
    agent = healthy()
    clear = {("loss", "clear"): 1.0, ("loss", "holding"): 0.0, ("flap", "clear"): 1.0, ("flap", "holding"): 0.0}
    assert guards(agent) == clear
    agent.view.apply(everything(FLEET[0], epoch="e2"))
    assert guards(agent) == clear | {("loss", "clear"): 0.0, ("loss", "holding"): 1.0}
    agent.view.apply(everything(FLEET[0], epoch="e2"))
    assert guards(agent) == clear, "the registry has said it twice"


def test_a_limit_stands_beside_what_is_used_of_it() -> None:
    agent = healthy()
    limit, used = limit_samples(agent.view, None, None, None)
    assert limit.values.keys() == used.values.keys() == {("view_services",), ("view_bytes",)}
    assert (limit.values["view_services",], used.values["view_services",]) == (agent.view.limits.services, 4.0)
    assert (limit.values["view_bytes",], used.values["view_bytes",]) == (agent.view.limits.bytes, agent.view.bytes)


def test_the_size_and_the_age_of_the_view_are_shown() -> None:
    agent = healthy()
    agent.clock.pass_time(45.0)
    assert agent.metric("agent_view_bytes") == agent.view.bytes > 0
    assert agent.metric("cache_age_seconds") == agent.metric("agent_sync_lag_seconds") == 45.0
