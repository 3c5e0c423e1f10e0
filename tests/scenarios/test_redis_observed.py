"""A deployment under a real Prometheus: every expression gives a number, alerts fire and end, and levels are judged.

It is the short part of `make observe`, which breaks everything that the rules know of.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import command
from tests.observed.deployment import Deployment, deployment, http_sd
from tests.observed.empty import THRESHOLDS
from tests.observed.faults import Scene, most_away, resolver_away
from tests.observed.judgement import absent_metrics, empty_that_should_not_be
from tests.observed.prometheus import ObservingPrometheus, observing_prometheus
from tests.observed.rules import quick_rules
from tests.programs import free_port

pytestmark = pytest.mark.timeout(300)


@contextlib.contextmanager
def _observed(folder: Path) -> Iterator[tuple[Deployment, ObservingPrometheus]]:
    rules = quick_rules(THRESHOLDS)
    with (
        deployment(folder / "deployment", zones=("eu-1a", "eu-1b"), services=("billing", "mail")) as running,
        observing_prometheus(
            folder / "prometheus", rules, scrape_configs=[http_sd(running.replicas[0].url)]
        ) as prometheus,
    ):
        running.watched_by(prometheus)
        yield running, prometheus


def test_every_expression_gives_a_number_and_alerts_fire_and_end(tmp_path: Path) -> None:
    with _observed(tmp_path) as (running, prometheus):
        empty, needless = empty_that_should_not_be(prometheus, quick_rules(THRESHOLDS))
        assert (empty, needless, absent_metrics(prometheus), prometheus.rules_that_fail()) == ([], [], [], {})

        for name, breaks, alerts in (
            ("replica", most_away, ("RegistryReplicaAway", "RegistryFewReplicasAnswer", "ZoneAway")),
            ("resolver", resolver_away, ("AgentForwardersFail",)),
        ):
            scene = Scene(running, prometheus, tmp_path / name)
            scene.until_ended(*alerts)
            with breaks(scene):
                scene.until_fires(*alerts)
            scene.until_ended(*alerts)

        done = command("slo", "--prometheus", prometheus.url, "--window", "5m", "-o", "json")
        assert done.stderr == ""
        said = json.loads(done.stdout)
        verdicts = {level["name"]: level["verdict"] for level in said["levels"]}
        assert done.returncode == (1 if "missed" in verdicts.values() else 0)
        assert verdicts["lookup_p50"] != "unknown", "lookups were measured"
        assert verdicts["replica_down"] == "met", "a replica was down, and no client saw an error"
        assert verdicts["all_down"] == "unknown", "some replica was always up"
        assert verdicts["dead_gone"] == "unknown", "Prometheus does not measure it"


def test_slo_says_when_nobody_or_somebody_else_answers() -> None:
    done = command("slo", "--prometheus", f"127.0.0.1:{free_port()}")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no answer from" in done.stderr
