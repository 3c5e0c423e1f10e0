"""Draws the tables of the code as Mermaid diagrams, for the documentation. It draws what the table says, no more."""

from __future__ import annotations

from registry_core.domain.breaker import TRANSITIONS, BreakerState, BreakerStep, BreakerTerms, Seen

_WORDS = {Seen.SUCCESS: ("success", "successes"), Seen.FAILURE: ("failure", "failures")}


def breaker_diagram(terms: BreakerTerms) -> str:
    """Return the transitions of the circuit breaker."""
    notes = {
        BreakerState.CLOSED: "every request goes",
        BreakerState.OPEN: "no request goes",
        BreakerState.HALF_OPEN: f"{terms.trial_share:.0%} of the requests go",
    }
    lines = ["stateDiagram-v2", f"    [*] --> {BreakerState.CLOSED}"]
    lines += [f"    {at} --> {step.to}: {_label(at, seen, step, terms)}" for (at, seen), step in TRANSITIONS.items()]
    lines += [f"    note right of {state}: {notes[state]}" for state in BreakerState]
    return "\n".join(lines) + "\n"


def _label(at: BreakerState, seen: Seen, step: BreakerStep, terms: BreakerTerms) -> str:
    if seen is Seen.TIME_OVER:
        over = f"{terms.lasts_s(at):g} s are over"
        return f"{over}, and every request goes" if step.to is at else over
    number = getattr(terms, step.in_a_row) if step.in_a_row else 1
    one, many = _WORDS[seen]
    return f"1 {one}" if number == 1 else f"{number} {many} in a row"


def breaker_text() -> str:
    """Return docs/breaker.md."""
    terms = BreakerTerms()
    return f"""# The circuit breaker

Made by `make map` from the table in `registry_core/domain/breaker.py`, with the default numbers.

```mermaid
{breaker_diagram(terms)}```

Each shard of the store has a breaker of its own. What is not drawn changes nothing, but that a success
while closed begins the count of failures anew.

- A failure is a write that found no master, or one that did not answer in time or could not take it. A master
  that answers and lacks the word of its replicas (503 `NotReplicated`) is none: it serves again as soon
  as a replica is back.
- An outcome counts only in the state in which its request was let in. A request that was sent before the
  breaker opened, and fails after it, opens nothing again.
- When half-open has lasted {terms.half_open_s:g} s without a verdict, there was too little traffic for
  {terms.trial_share:.0%} of it to give one. From then on every request tries, until {terms.successes} have succeeded
  or one has failed.
- A request that may not go is refused at once, with the time after which it is worth asking again. Lookups
  are not affected: they are answered from the view in any state. Looking for the master and following its
  stream go on in any state, too: they are how it is known that a server is well again, and what it has.
"""
