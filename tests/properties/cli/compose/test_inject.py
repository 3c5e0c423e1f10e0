"""Sidecars added to any compose file, and removed again: the original bytes are unchanged."""

from __future__ import annotations

import yaml
from hypothesis import event, given, settings
from hypothesis import strategies as st

from cli.compose.inject import NotTheSame, ejected, injected
from cli.compose.outline import outline_of
from cli.compose.sidecars import Options, Recipe, SidecarSpec
from tests.compose_texts import compose_texts

RECIPES = st.sampled_from(Recipe)


def sidecars_of(text: str, names: list[str]) -> list[SidecarSpec]:
    return [SidecarSpec(name, f"{name}-agent", name, 8000, profiles=("full",)) for name in names]


def names_of(text: str) -> list[str]:
    services = outline_of(text).root.value_of("services")
    assert services is not None
    return [key.value for key, _ in services.pairs]


@given(compose_texts(), RECIPES, RECIPES, st.data())
@settings(max_examples=300, deadline=None)
def test_inject_and_eject_restore_the_bytes(text: str, recipe: Recipe, other: Recipe, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(names_of(text)), min_size=1, unique=True))
    sidecars = sidecars_of(text, names)
    options = Options(recipe=recipe, host_address="10.0.0.7", podman=data.draw(st.booleans()))
    try:
        after = injected(text, sidecars, options)
    except NotTheSame:
        event("refused")
        assert "*" in text  # a shared value is the only reason
        return
    event(recipe.value)
    assert ejected(after) == text
    assert injected(after, sidecars, options) == after
    second = Options(recipe=other, host_address="10.0.0.7")
    assert injected(after, sidecars, second) == injected(text, sidecars, second)
    found = yaml.safe_load(after)["services"]
    if recipe is not Recipe.HOST:
        for sidecar in sidecars:
            assert found[sidecar.agent]["environment"]["SERVICE_NAME"] == sidecar.service
            assert found[sidecar.agent]["environment"]["REGISTRY_URL"] == options.registry
            assert found[sidecar.agent]["image"] == options.image
    assert all(name in found for name in names)
    # The original lines are still there, in order.
    rest = iter(after.splitlines(keepends=False))
    assert all(line in rest for line in text.splitlines() if "{" not in line)


@given(compose_texts())
def test_ejecting_from_a_file_without_sidecars_changes_nothing(text: str) -> None:
    assert ejected(text) == text
