"""Chains of followers end at a registry, and nobody follows itself."""

from __future__ import annotations

import pytest

from registry_core.domain.chain import MAX_DEPTH, FollowLoop, header_of, ids_in, onward, require_no_loop

OWN = "0" * 15 + "a"
REGISTRY = "0" * 15 + "b"
OTHER = "0" * 15 + "c"
URL = "http://10.0.0.9:8888"


def ids(count: int) -> tuple[str, ...]:
    return tuple(f"{number:016x}" for number in range(100, 100 + count))


def test_a_header_names_the_ids_that_it_was_made_of() -> None:
    assert ids_in(header_of((OWN, REGISTRY))) == (OWN, REGISTRY)


@pytest.mark.parametrize("header", ["", "x", f"{OWN};{OTHER}", f"{OWN},", OWN.upper(), ", ".join(ids(100))])
def test_a_header_of_another_form_names_nobody(header: str) -> None:
    assert ids_in(header) == ()


def test_a_follower_of_a_registry_and_of_its_follower_is_no_loop() -> None:
    require_no_loop(OWN, (), URL)
    require_no_loop(OWN, (REGISTRY,), URL)
    require_no_loop(OWN, (OTHER, REGISTRY), URL)


@pytest.mark.parametrize(("chain", "words"), [((OWN,), "to itself"), ((OTHER, OWN, REGISTRY), "1 hops up")])
def test_a_follower_does_not_follow_itself(chain: tuple[str, ...], words: str) -> None:
    with pytest.raises(FollowLoop, match=words):
        require_no_loop(OWN, chain, URL)


def test_a_chain_has_a_most_depth() -> None:
    require_no_loop(OWN, ids(MAX_DEPTH - 1), URL)
    with pytest.raises(FollowLoop, match=str(MAX_DEPTH)):
        require_no_loop(OWN, ids(MAX_DEPTH), URL)


def test_a_request_names_the_followers_that_it_came_through_and_comes_through_each_once() -> None:
    via = onward(OWN, (OTHER,))
    assert via == f"{OTHER}, {OWN}"
    with pytest.raises(FollowLoop):
        onward(OWN, ids_in(via))
    with pytest.raises(FollowLoop):
        onward(OWN, ids(MAX_DEPTH - 1))
