"""What monitors the registry, judged without its images by promtool and by the metrics of replicas and agents."""

from __future__ import annotations

import re
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.compose.topology import COMPOSE
from tests.programs import VERTICE, accepts, find, free_port, running, wait_until
from tools.dashboards.every import DASHBOARDS

FOLDER = COMPOSE / "observability"
METRIC = re.compile(r"\b(?<!:)(?:registry|agent|vertice)_[a-z_]+\b")


def judged(program: str, *words: str, timeout_s: float = 30) -> None:
    done = subprocess.run(
        [find(program), *words], cwd=FOLDER, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def expressions() -> str:
    """Return every expression of the rules and of the dashboards."""
    groups = [
        group for name in ("rules.yml", "slo.yml") for group in yaml.safe_load((FOLDER / name).read_text())["groups"]
    ]
    found = [rule["expr"] for group in groups for rule in group["rules"]]
    found += [query.expr for dashboard in DASHBOARDS for panel in dashboard.panels for query in panel.queries]
    return "\n".join(found)


def test_prometheus_accepts_its_configuration_and_its_rules(tmp_path: Path) -> None:
    # Their paths in the container, and here.
    config = (FOLDER / "prometheus.yml").read_text(encoding="utf-8").replace("/etc/prometheus/", f"{FOLDER}/")
    (tmp_path / "trust.crt").write_bytes(b"")
    config = config.replace("/certificates/", f"{tmp_path}/")
    (tmp_path / "prometheus.yml").write_text(config, encoding="utf-8")
    judged("promtool", "check", "config", "--syntax-only", str(tmp_path / "prometheus.yml"))
    judged("promtool", "check", "rules", "rules.yml", "slo.yml")


@pytest.mark.timeout(660)
def test_the_alerts_of_the_service_level_fire_within_days() -> None:
    judged("promtool", "test", "rules", "slo-days.test.yml", timeout_s=600)


def test_every_metric_in_use_exists(tmp_path: Path) -> None:
    registry, http, dns = free_port(), free_port(), free_port()
    settings = {
        "REGISTRY_LISTEN": f"127.0.0.1:{registry}",
        "REGISTRY_URL": f"http://127.0.0.1:{registry}",
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{http}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{dns}",
    }
    with (
        running([*VERTICE, "registry"], tmp_path / "registry.log", settings),
        running([*VERTICE, "agent"], tmp_path / "agent.log", settings),
    ):
        wait_until(lambda: accepts(registry) and accepts(http), "both answer")
        told = ""
        for port in (registry, http):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                told += answer.read().decode()
    # The TYPE lines also name metrics without any sample yet.
    families = dict(re.findall(r"^# TYPE (\S+) (\S+)$", told, re.MULTILINE))
    exist = set(families) | {f"{name}_bucket" for name, kind in families.items() if kind == "histogram"}
    watched = set(METRIC.findall(expressions()))
    assert len(watched) > 8
    assert watched - exist == set()


def test_mounted_files_exist() -> None:
    topology: dict[str, Any] = yaml.safe_load((COMPOSE / "observability.yml").read_text(encoding="utf-8"))
    mounts = [volume for service in topology["services"].values() for volume in service.get("volumes", ())]
    files = [COMPOSE / mount.split(":")[0] for mount in mounts if mount.startswith("./")]
    assert len(files) >= 7
    assert [file for file in files if not file.exists()] == []
    for file in files:
        if file.suffix in {".yml", ".json"}:
            yaml.safe_load(file.read_text(encoding="utf-8"))
