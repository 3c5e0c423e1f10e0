"""What monitors the registry, judged without its images by promtool."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.compose.topology import COMPOSE
from tests.programs import find

FOLDER = COMPOSE / "observability"


def judged(program: str, *words: str, timeout_s: float = 30) -> None:
    done = subprocess.run(
        [find(program), *words], cwd=FOLDER, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


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


def test_mounted_files_exist() -> None:
    topology: dict[str, Any] = yaml.safe_load((COMPOSE / "observability.yml").read_text(encoding="utf-8"))
    mounts = [volume for service in topology["services"].values() for volume in service.get("volumes", ())]
    files = [COMPOSE / mount.split(":")[0] for mount in mounts if mount.startswith("./")]
    assert len(files) >= 7
    assert [file for file in files if not file.exists()] == []
    for file in files:
        if file.suffix in {".yml", ".json"}:
            yaml.safe_load(file.read_text(encoding="utf-8"))
