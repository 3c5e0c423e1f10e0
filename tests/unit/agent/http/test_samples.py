"""The values that a scrape reads: every reason and every state has a series from the start."""

from __future__ import annotations

from agent.http.samples import CLEAR, HOLDING, by_reason, by_word, counter, gauge, one_of
from registry_core.domain.connection_slots import Closing


def test_a_reason_that_was_not_met_is_0() -> None:
    met = next(iter(Closing))
    shown = by_reason({met: 3})
    assert shown.keys() == {(why.value,) for why in Closing}
    assert (shown[met.value,], sum(shown.values())) == (3.0, 3.0)


def test_one_state_is_the_current_one() -> None:
    assert one_of(HOLDING, (CLEAR, HOLDING)) == {("clear",): 0.0, ("holding",): 1.0}


def test_words_become_labels() -> None:
    assert by_word({"read": 1, "failed": 0}) == {("read",): 1.0, ("failed",): 0.0}
    assert (gauge("a", "b", 1).labels, counter("a", "b", 2).values) == ((), {(): 2})
