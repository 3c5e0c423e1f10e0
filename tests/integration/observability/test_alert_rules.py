"""The alerts of compose/observability, judged by promtool; each has cases there, and a page among the runbooks."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.programs import find
from tools.sources import ROOT

FOLDER = ROOT / "compose" / "observability"
SEVERITIES = {"critical", "warning", "info"}
# promtool needs some 10 s of a core for the cases.
JUDGED_S = 240
CASES = sorted(FOLDER.glob("*.test.yml"))


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    return [rule for group in loaded(FOLDER / "rules.yml")["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}


def judged(program: str, *words: str) -> str:
    done = subprocess.run([find(program), *words], cwd=FOLDER, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(JUDGED_S + 20)
@pytest.mark.parametrize("cases", ["rules.test.yml", "rules-hours.test.yml"])
def test_alerts_fire_when_they_should_and_not_before_and_resolve(cases: str) -> None:
    judged("promtool", "test", "rules", cases)


def test_prometheus_accepts_the_rules_and_alertmanager_its_configuration() -> None:
    judged("promtool", "check", "rules", "rules.yml", "slo.yml")
    judged("amtool", "check-config", "alertmanager.yml")


def test_every_alert_says_how_bad_it_is_what_it_is_and_what_to_do() -> None:
    for name, alert in ALERTS.items():
        assert set(re.findall(r"critical|warning|info", alert["labels"]["severity"])) <= SEVERITIES, name
        assert set(alert["annotations"]) == {"summary", "description", "runbook"}, name
        assert alert["annotations"]["runbook"] == f"docs/runbooks/{name}.md"


def test_every_alert_has_cases_in_which_it_fires_and_in_which_it_does_not() -> None:
    fires: set[str] = set()
    rests: set[str] = set()
    for file in CASES:
        for case in loaded(file)["tests"]:
            for check in case["alert_rule_test"]:
                (fires if check["exp_alerts"] else rests).add(check["alertname"])
    assert fires == rests == set(ALERTS)


def test_every_alert_is_seen_to_resolve() -> None:
    resolved = set()
    for file in CASES:
        for case in loaded(file)["tests"]:
            checks = case["alert_rule_test"]
            if any(check["exp_alerts"] for check in checks) and not checks[-1]["exp_alerts"]:
                resolved.add(checks[-1]["alertname"])
    assert resolved == set(ALERTS)
