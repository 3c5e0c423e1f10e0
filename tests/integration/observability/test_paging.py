"""Alerts reach PagerDuty through the real Alertmanager, and through the real Prometheus where the rules fire them."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.observability.pager import Pager, pager
from tests.integration.observability.test_alert_rules import ALERTS, FOLDER
from tests.programs import VERTICE, accepts, find, free_port, running, wait_until

pytestmark = pytest.mark.timeout(180)
ROUTING_KEY = "0123456789abcdef0123456789abcdef"
LONG_S = 90.0


class Alertmanager:
    """A running Alertmanager with the configuration of compose/observability, and who it pages."""

    def __init__(self, port: int, paged: Pager) -> None:
        self.port = port
        self.paged = paged

    def fire(self, name: str, severity: str = "critical", *, ended: bool = False, **labels: str) -> None:
        """Send one alert, as Prometheus does."""
        self.send({"alertname": name, "severity": severity, **labels}, ended=ended)

    def send(self, labels: Mapping[str, str], *, ended: bool = False) -> None:
        now = dt.datetime.now(dt.UTC)
        ends = now if ended else now + dt.timedelta(minutes=5)
        summary = f"summary of {labels['alertname']}"
        alert = {
            "labels": labels,
            "annotations": {"summary": summary, "description": "d", "runbook": "docs/runbooks/x.md"},
            "startsAt": (now - dt.timedelta(minutes=1)).isoformat(),
            "endsAt": ends.isoformat(),
        }
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/v2/alerts",
            json.dumps([alert]).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200

    def alerts(self) -> dict[str, str]:
        """Return the state of each alert that it knows."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v2/alerts", timeout=10) as answer:
            return {one["labels"]["alertname"]: one["status"]["state"] for one in json.load(answer)}


def quick(configuration: str, key_file: Path, url: str) -> str:
    """Return the configuration with this receiver, and with waits of a second."""
    config: dict[str, Any] = yaml.safe_load(configuration)
    config["global"]["pagerduty_url"] = url
    for route in (config["route"], *config["route"]["routes"]):
        route.update({"group_wait": "1s", "group_interval": "1s"})
    return yaml.safe_dump(config).replace("/run/secrets/pagerduty_routing_key", str(key_file))


@contextlib.contextmanager
def alertmanager(folder: Path) -> Iterator[Alertmanager]:
    """Run an Alertmanager and a receiver of pages for the duration of a `with`."""
    key_file, config, port = folder / "key", folder / "alertmanager.yml", free_port()
    key_file.write_text(f"{ROUTING_KEY}\n")
    with pager(ROUTING_KEY) as paged:
        config.write_text(quick((FOLDER / "alertmanager.yml").read_text(), key_file, paged.url))
        argv = [
            find("prometheus-alertmanager"),
            f"--config.file={config}",
            f"--storage.path={folder / 'alertmanager'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",
        ]
        with running(argv, folder / "alertmanager.log"):
            wait_until(lambda: accepts(port), "Alertmanager listens", timeout_s=LONG_S)
            yield Alertmanager(port, paged)


def test_critical_alerts_page_once_and_resolve_and_consequences_page_nobody(tmp_path: Path) -> None:
    with alertmanager(tmp_path) as manager:
        paged = manager.paged
        manager.fire("RegistryDown")
        wait_until(lambda: paged.actions("RegistryDown") == ["trigger"], "somebody is paged", timeout_s=LONG_S)
        event = paged.events[0]
        assert event["payload"]["severity"] == "critical"
        assert event["payload"]["summary"] == "summary of RegistryDown"
        assert event["payload"]["custom_details"]["runbook"] == "docs/runbooks/x.md"

        # What follows from it, and what is only a warning.
        manager.fire("ZoneAway", component="registry", zone="z1")
        manager.fire("AvailabilityBurnsFast")
        manager.fire("RegistryReplicaAway", "warning", instance="r1:8888")
        manager.fire("AgentViewOld", "warning", instance="a1:8880")
        # What does not, although that replica is away. Once it pages, the others have been looked at.
        manager.fire("AuditDisputed", instance="r1:8888")
        wait_until(lambda: "AuditDisputed" in paged.triggered(), "another fault pages", timeout_s=LONG_S)
        assert paged.triggered() == {"RegistryDown", "AuditDisputed"}
        states = manager.alerts()
        assert {name for name, state in states.items() if state == "suppressed"} == {
            "ZoneAway",
            "AvailabilityBurnsFast",
            "RegistryReplicaAway",
            "AgentViewOld",
        }

        manager.fire("RegistryDown", ended=True)
        wait_until(lambda: paged.actions("RegistryDown") == ["trigger", "resolve"], "it resolves", timeout_s=LONG_S)
        # They stand by themselves now.
        wait_until(lambda: "ZoneAway" in paged.triggered(), "the rest pages", timeout_s=LONG_S)
        assert "AgentViewOld" not in paged.triggered(), "a warning wakes nobody"
        assert paged.faults == []


def test_a_replica_that_is_away_covers_what_is_known_of_it_alone(tmp_path: Path) -> None:
    with alertmanager(tmp_path) as manager:
        manager.fire("RegistryReplicaAway", "warning", instance="r1:8888")
        manager.fire("RegistryCannotWrite", instance="r1:8888")
        manager.fire("AuditNotWritten", instance="r2:8888")
        wait_until(lambda: "AuditNotWritten" in manager.paged.triggered(), "the other one pages", timeout_s=LONG_S)
        assert manager.alerts() == {
            "RegistryReplicaAway": "active",
            "RegistryCannotWrite": "suppressed",
            "AuditNotWritten": "active",
        }
        assert manager.paged.triggered() == {"AuditNotWritten"}


def test_inhibitions_name_alerts_that_exist() -> None:
    rules = yaml.safe_load((FOLDER / "alertmanager.yml").read_text())["inhibit_rules"]
    patterns = re.findall(r"alertname (?:=~|=|!=) \"?([\w.+*|]+)", str(rules).replace("'", '"'))
    assert len(patterns) > 10
    for pattern in patterns:
        for one in pattern.split("|"):
            assert any(re.fullmatch(one, name) for name in ALERTS), one


@contextlib.contextmanager
def prometheus(folder: Path, registry: int, manager: Alertmanager) -> Iterator[None]:
    """Run a Prometheus that scrapes one replica by the shipped rules, without their patience."""
    for name in ("rules.yml", "slo.yml"):
        text = (FOLDER / name).read_text()
        (folder / name).write_text(re.sub(r"^(\s+for:) .*$", r"\1 1s", text, flags=re.MULTILINE))
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "rules.yml"), str(folder / "slo.yml")],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{manager.port}"]}]}]},
        "scrape_configs": [
            {"job_name": "registry", "static_configs": [{"targets": [f"127.0.0.1:{registry}"]}]},
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    argv = [
        find("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--rules.alert.resend-delay=1s",
    ]
    with running(argv, folder / "prometheus.log"):
        wait_until(lambda: accepts(port), "Prometheus listens", timeout_s=LONG_S)
        yield


def test_a_registry_that_is_down_pages_and_its_return_resolves(tmp_path: Path) -> None:
    registry = free_port()
    settings = {"REGISTRY_LISTEN": f"127.0.0.1:{registry}", "REGISTRY_WARMING": "0"}
    with alertmanager(tmp_path) as manager, prometheus(tmp_path, registry, manager):
        paged = manager.paged
        wait_until(lambda: "RegistryDown" in paged.triggered(), "nobody answers", timeout_s=LONG_S)
        (event,) = [one for one in paged.events if one["payload"]["class"] == "RegistryDown"]
        assert event["payload"]["summary"] == "No replica of the registry answers"
        assert re.match(r"0 of [01] replicas answer\.", event["payload"]["custom_details"]["description"])
        assert event["payload"]["custom_details"]["runbook"] == "docs/runbooks/RegistryDown.md"
        with running([*VERTICE, "registry"], tmp_path / "registry.log", settings):
            wait_until(lambda: paged.actions("RegistryDown")[-1] == "resolve", "it is back", timeout_s=LONG_S)
        assert paged.faults == []
