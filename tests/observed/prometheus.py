"""A real Prometheus (Debian's) that scrapes once a second, with rules and targets that a test gives it."""

from __future__ import annotations

import contextlib
import json
import math
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from tests.observed.rules import Rules
from tests.programs import Program, find, free_port, running, wait_until

SCRAPE: Final = "1s"


class ObservingPrometheus:
    """A running Prometheus; targets are read from a file, anew whenever it changes."""

    def __init__(self, program: Program, port: int, targets: Path) -> None:
        self.program = program
        self.url = f"http://127.0.0.1:{port}"
        self._file = targets
        self._targets: dict[str, tuple[str, Mapping[str, str]]] = {}

    def watch(self, job: str, at: str, **labels: str) -> None:
        """Scrape one more target, `host:port`."""
        self._targets[at] = (job, labels)
        self._write()

    def forget(self, *at: str) -> None:
        """Scrape these no longer."""
        for each in at:
            self._targets.pop(each, None)
        self._write()

    def _write(self) -> None:
        listed = [
            {"targets": [at], "labels": {"job": job, **labels}} for at, (job, labels) in sorted(self._targets.items())
        ]
        whole = self._file.with_suffix(".new")
        whole.write_text(json.dumps(listed))
        whole.replace(self._file)

    # -- asking

    def _ask(self, path: str, **words: object) -> Any:
        query = urllib.parse.urlencode(words)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=30) as answer:
            return json.load(answer)["data"]

    def query(self, promql: str) -> list[dict[str, Any]]:
        """Return the series of an instant query that have a number."""
        data = self._ask("query", query=promql)
        if data["resultType"] == "scalar":
            return [{"metric": {}, "value": data["result"]}]
        return [one for one in data["result"] if math.isfinite(float(one["value"][1]))]

    def value(self, promql: str) -> float | None:
        """Return the first number of an instant query; None when there is none."""
        found = self.query(promql)
        return float(found[0]["value"][1]) if found else None

    def over(self, promql: str, start: float, end: float, step_s: float = 1.0) -> list[dict[str, Any]]:
        """Return the series of a range query, each with the points that are numbers; `start` and `end` in Unix time."""
        data = self._ask("query_range", query=promql, start=start, end=end, step=step_s)
        found = [
            {"metric": one["metric"], "values": [(at, float(v)) for at, v in one["values"] if math.isfinite(float(v))]}
            for one in data["result"]
        ]
        return [one for one in found if one["values"]]

    def fires(self, alert: str) -> bool:
        """Return whether an alert fires now."""
        return bool(self.query(f'ALERTS{{alertname="{alert}",alertstate="firing"}}'))

    def firing(self) -> set[str]:
        """Return the alerts that fire now."""
        return {one["metric"]["alertname"] for one in self.query('ALERTS{alertstate="firing"}')}

    def has_scraped(self, job: str, count: int) -> bool:
        """Return whether that many targets of a job answered their last scrape."""
        return len(self.query(f'up{{job="{job}"}} == 1')) >= count

    def rules_that_fail(self) -> dict[str, str]:
        """Return the rules whose last evaluation failed, with the reason."""
        groups = self._ask("rules")["groups"]
        return {rule["name"]: rule["lastError"] for g in groups for rule in g["rules"] if rule["health"] == "err"}

    def now(self) -> float:
        """Return the time on the clock that samples have."""
        return time.time()


@contextlib.contextmanager
def observing_prometheus(
    folder: Path, rules: Rules, *, scrape_configs: Sequence[Mapping[str, Any]] = ()
) -> Iterator[ObservingPrometheus]:
    """Run a Prometheus for the duration of a `with`; more `scrape_configs` stand beside the targets of its file."""
    folder.mkdir(parents=True, exist_ok=True)
    port, targets = free_port(), folder / "targets.json"
    targets.write_text("[]")
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": list(rules.groups)}), encoding="utf-8")
    config = {
        "global": {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE, "evaluation_interval": SCRAPE},
        "rule_files": [str(folder / "rules.yml")],
        "scrape_configs": [
            # Certificates of tests come from authorities that nobody else knows.
            {
                "job_name": "listed",
                "tls_config": {"insecure_skip_verify": True},
                "file_sd_configs": [{"files": [str(targets)], "refresh_interval": "1s"}],
            },
            *scrape_configs,
        ],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    flags = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    # A series that ended is gone from answers after this, not after five minutes.
    flags += [f"--web.listen-address=127.0.0.1:{port}", "--query.lookback-delta=3s", "--log.level=warn"]
    with running([find("prometheus"), *flags], folder / "prometheus.log") as program:
        judge = ObservingPrometheus(program, port, targets)

        def ready() -> bool:
            assert program.process.poll() is None, program.output()
            with contextlib.suppress(OSError):
                return bool(urllib.request.urlopen(f"{judge.url}/-/ready", timeout=2).status == 200)
            return False

        wait_until(ready, "Prometheus is ready", timeout_s=30)
        yield judge
