"""`make observe`: a deployment under load, a real Prometheus with our rules, and one fault after the other.

Each fault must fire its alerts, and each alert must end after it. At the end, every alert was seen firing and ending,
and every expression of a panel, a recording rule and an alert has given a number at some time; the exceptions, with
their reasons, are in `tests/observed/empty.py`. Exits with 1 otherwise.

    python -m tests.observed.run [--pictures FOLDER] [FAULT ...]
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.observed.deployment import deployment, http_sd
from tests.observed.empty import NEVER_SEEN, NOT_LIVE, THRESHOLDS, excused
from tests.observed.faults import FAULTS, ObservedFault, Scene
from tests.observed.judgement import absent_metrics, empty_over, empty_that_should_not_be, every_expression
from tests.observed.pictures import write_pictures
from tests.observed.prometheus import ObservingPrometheus, observing_prometheus
from tests.observed.rules import quick_rules
from tests.observed.sides import SIDES
from tests.programs import start_as_installed

EVERY = (*FAULTS, *SIDES)


def say(line: str) -> None:
    """Print one line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def observe(folder: Path, faults: Sequence[ObservedFault], pictures: Path | None) -> list[str]:
    """Return what was not as it should be."""
    rules, problems = quick_rules(THRESHOLDS), []
    whole = len(faults) == len(EVERY)
    seen: set[str] = set()
    with contextlib.ExitStack() as stack:
        running = stack.enter_context(deployment(folder / "deployment"))
        configs = [http_sd(running.replicas[0].url)]
        prometheus = stack.enter_context(observing_prometheus(folder / "prometheus", rules, scrape_configs=configs))
        running.watched_by(prometheus)
        began = prometheus.now()
        empty, needless = empty_that_should_not_be(prometheus, rules)
        problems += [f"empty without a fault: {place}" for place in empty]
        problems += [f"no expression needs this excuse: {line}" for line in needless]
        problems += [f"an alert reads what does not exist: {name}" for name in absent_metrics(prometheus)]
        say(f"without a fault: {len(every_expression(rules))} expressions, {len(problems)} problems")
        for fault in faults:
            scene = Scene(running, prometheus, folder / fault.name.replace(" ", "-"))
            try:
                _one(scene, fault)
                seen.update(fault.alerts)
            except Exception as error:  # noqa: BLE001 - the other faults are observed all the same
                say(traceback.format_exc())
                problems.append(f"{fault.name}: {error}")
            finally:
                scene.end()
        problems += [f"a rule failed: {name}: {why}" for name, why in prometheus.rules_that_fail().items()]
        if pictures is not None:
            write_pictures(prometheus, began, prometheus.now(), pictures)
        if whole:
            problems += _whole(prometheus, began, seen)
    return problems


def _one(scene: Scene, fault: ObservedFault) -> None:
    """Break, wait for the alerts, heal, and wait until they have ended."""
    began = time.monotonic()
    with fault.breaks(scene):
        scene.until_fires(*fault.alerts)
        fired_s = time.monotonic() - began
    scene.until_ended(*fault.alerts)
    also = scene.prometheus.firing() - set(fault.alerts)
    named = ", ".join(fault.alerts) or "no alert"
    say(
        f"{fault.name}: {named} fired after {fired_s:.0f} s, ended after {time.monotonic() - began:.0f} s"
        + (f"; still firing: {', '.join(sorted(also))}" if also else "")
    )


def _whole(prometheus: ObservingPrometheus, began: float, seen: set[str]) -> list[str]:
    rules = quick_rules(THRESHOLDS)
    alerts = {str(rule["alert"]) for rule in rules.named("alert")}
    problems = [f"no fault fires it: {name}" for name in sorted(alerts - seen - NOT_LIVE.keys())]
    problems += [f"it is fired after all: {name}" for name in sorted(seen & NOT_LIVE.keys())]
    # Whatever fires now must have been fired by a fault, and ended: nothing may stay.
    empty = empty_over(prometheus, every_expression(rules), began, prometheus.now())
    problems += [f"always empty: {place}" for place in empty if excused(place, NEVER_SEEN) is None]
    return problems


def main() -> int:
    """Observe; return 1 when something was not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.observed.run", description=__doc__)
    names = [fault.name for fault in EVERY]
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"{'; '.join(names)} (default: all)")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="draw every panel as a picture, in this folder")
    arguments = parser.parse_args()
    unknown = set(arguments.faults) - set(names)
    if unknown:
        parser.error(f"there is no fault {', '.join(sorted(unknown))}")
    start_as_installed()
    chosen = [fault for fault in EVERY if not arguments.faults or fault.name in arguments.faults]
    with tempfile.TemporaryDirectory(prefix="vertice-observed-") as folder:
        problems = observe(Path(folder), chosen, arguments.pictures)
    for problem in problems:
        say(f"NOT AS IT SHOULD BE: {problem}")
    say(f"{len(chosen)} faults, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
