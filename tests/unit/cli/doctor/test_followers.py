"""What the doctor says of a registry that follows another one."""

from __future__ import annotations

import msgspec
import pytest

from cli.doctor.facts import FollowSeen
from cli.doctor.followers import judge
from tests.unit.cli.doctor.test_judges import changed


@pytest.mark.parametrize(
    ("follow", "words"),
    [
        (FollowSeen(connected_to="http://10.0.0.2:8888", hops=1), "the registry with the store is 1 step up"),
        (FollowSeen(connected_to="http://10.0.0.2:8888", hops=3), "3 steps up"),
        (FollowSeen(connected_to="http://10.0.0.2:8888"), "some steps up"),
        (FollowSeen(problem="connection refused", lost_s=90.0), "has lost it 90 s ago: connection refused"),
        (FollowSeen(), "it does not say why"),
        (FollowSeen(problem="http://a is at the end of a chain of 8, and 8 is the most"), "cannot follow"),
    ],
)
def test_it_names_the_upstream_or_what_is_wrong(follow: FollowSeen, words: str) -> None:
    facts = changed(registry={"follow": follow})
    (found,) = judge(facts)
    assert words in found.what
    assert not list(judge(msgspec.structs.replace(facts, registries=())))
