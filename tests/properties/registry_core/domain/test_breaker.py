"""The circuit breaker against a model written from its description, not from the table.

"Closed; 3 failures: open for 30 s; then half-open for 10 s: 10 % of requests try, 2 successes in a row close, 1 failure
opens." The model keeps the whole history and derives the state from it each time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain

from hypothesis import given, settings
from hypothesis import strategies as st

from registry_core.domain.breaker import Admitted, Breaker, BreakerState, Seen

PASS = st.tuples(st.just("pass"), st.sampled_from([0.0, 0.5, 1.0, 4.0, 9.5, 10.0, 29.5, 30.0, 31.0, 100.0]))
ASK = st.tuples(st.just("ask"), st.sampled_from([0.0, 0.05, 0.0999, 0.1, 0.5, 0.99]))
# Which of the pending requests ends (0 is the oldest), and whether it succeeds.
END = st.tuples(st.sampled_from(["succeed", "fail"]), st.integers(0, 3).map(float))
# Leads to the rare states at once: an outage with a pending request, and the wait after it.
OUTAGE = st.just([("ask", 0.0)] * 4 + [("fail", 1.0)] * 3)
WAIT = st.just([("pass", 30.0), ("ask", 0.05), ("ask", 0.05), ("ask", 0.05)])
STEP = st.one_of(PASS, ASK, ASK, END, END, END).map(lambda step: [step])
PARTS = st.lists(st.one_of(STEP, STEP, OUTAGE, WAIT), max_size=40)
STEPS: st.SearchStrategy[list[tuple[str, float]]] = PARTS.map(lambda parts: list(chain.from_iterable(parts)))


@dataclass
class Period:
    """A time in which the breaker should be in one state, and the outcomes during it."""

    state: str
    began: float
    outcomes: list[bool] = field(default_factory=list)


class Model:
    def __init__(self) -> None:
        self.periods = [Period("closed", 0.0)]

    def now_at(self, now: float) -> Period:
        last = self.periods[-1]
        if last.state == "open" and now >= last.began + 30:
            self.periods.append(Period("half_open", last.began + 30))
        return self.periods[-1]

    def lets_in(self, now: float, draw: float) -> bool:
        period = self.now_at(now)
        if period.state == "half_open":
            return now >= period.began + 10 or draw < 0.1
        return period.state == "closed"

    def ended(self, asked_in: Period, *, well: bool, now: float) -> None:
        period = self.now_at(now)
        if asked_in is not period:
            return
        period.outcomes.append(well)
        opening, closing = {"closed": ([False] * 3, None), "half_open": ([False], [True] * 2)}[period.state]
        if period.outcomes[-len(opening) :] == opening:
            self.periods.append(Period("open", now))
        elif closing is not None and period.outcomes[-len(closing) :] == closing:
            self.periods.append(Period("closed", now))


@given(STEPS)
@settings(max_examples=300)
def test_the_breaker_behaves_as_described(steps: list[tuple[str, float]]) -> None:
    breaker, model, now = Breaker(), Model(), 0.0
    under_way: list[tuple[Admitted, Period]] = []
    for what, number in steps:
        match what:
            case "pass":
                now += number
            case "ask":
                admission = breaker.admission(now, number)
                assert isinstance(admission, Admitted) == model.lets_in(now, number)
                if isinstance(admission, Admitted):
                    under_way.append((admission, model.now_at(now)))
                else:
                    assert 0.0 <= admission.retry_after_s <= 30.0
            case _ if int(number) < len(under_way):
                admitted, asked_in = under_way.pop(int(number))
                well = what == "succeed"
                breaker = breaker.recorded(admitted, Seen.SUCCESS if well else Seen.FAILURE, now)
                model.ended(asked_in, well=well, now=now)
        assert breaker.at(now).state.value == model.now_at(now).state


@given(STEPS, st.floats(0, 100))
def test_reading_the_state_changes_nothing(steps: list[tuple[str, float]], later_s: float) -> None:
    breaker, now = Breaker(), 0.0
    for what, number in steps:
        now += number if what == "pass" else 0.0
        admission = breaker.admission(now, 0.0)
        if what in ("succeed", "fail") and isinstance(admission, Admitted):
            breaker = breaker.recorded(admission, Seen.SUCCESS if what == "succeed" else Seen.FAILURE, now)
        looked = breaker
        for part in (0.25, 0.5, 0.75):
            looked = looked.at(now + part * later_s)
        assert looked.at(now + later_s) == breaker.at(now + later_s)


@given(st.lists(st.booleans(), max_size=50))
def test_it_is_never_open_without_three_failures_in_a_row(outcomes: list[bool]) -> None:
    breaker = Breaker()
    for well in outcomes:
        admission = breaker.admission(0.0, 0.0)
        if isinstance(admission, Admitted):
            breaker = breaker.recorded(admission, Seen.SUCCESS if well else Seen.FAILURE, 0.0)
    run = "".join("s" if well else "f" for well in outcomes)
    assert (breaker.state is BreakerState.OPEN) == ("fff" in run)
