"""Prometheus finds its targets through our DNS alone, and follows them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.programs import wait_until
from tests.scenarios.judged import ZONE, Judged, claim, judged, own_network

URL = "http://127.0.0.1:9090"
# Two services: one that is scraped, and one that is too large for a datagram.
CONFIG = f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: billing
    dns_sd_configs: [{{names: [_billing._tcp.{ZONE}], refresh_interval: 1s}}]
  - job_name: large
    scrape_interval: 1h
    dns_sd_configs: [{{names: [_large._tcp.{ZONE}], refresh_interval: 1s}}]
  - job_name: addresses
    scrape_interval: 1h
    dns_sd_configs: [{{names: [large.{ZONE}], type: A, port: 8034, refresh_interval: 1s}}]
"""
LARGE = 200


class Prometheus:
    """A Prometheus in the network of an agent."""

    def __init__(self, system: Judged) -> None:
        self.system = system

    def targets(self, job: str) -> list[dict[str, Any]]:
        """Return the targets that it scrapes for a job."""
        answer = self.system.get(f"{URL}/api/v1/targets?state=active")
        return [one for one in answer["data"]["activeTargets"] if one["labels"]["job"] == job]

    def has_all_of(self, job: str) -> bool:
        """Return whether it knows every instance of the large service."""
        return len(self.targets(job)) == LARGE

    def scraped(self) -> set[str]:
        """Return the addresses in the last scrapes: each instance names its own in its metrics."""
        answer = self.system.get(f"{URL}/api/v1/query?query=up%7Bjob%3D%22billing%22%7D%20%3D%3D%201")
        return {one["metric"]["instance"] for one in answer["data"]["result"]}

    def lookups(self) -> tuple[int, int]:
        """Return how many lookups it has made, and how many of them failed."""
        lines = self.system.run("curl", "-sS", "--fail", f"{URL}/metrics").splitlines()
        counted = dict(line.split() for line in lines if line.startswith("prometheus_sd_dns_lookup"))
        made, failed = ("prometheus_sd_dns_lookups_total", "prometheus_sd_dns_lookup_failures_total")
        return int(float(counted[made])), int(float(counted[failed]))


@contextmanager
def prometheus(folder: Path) -> Iterator[Prometheus]:
    """Run an agent, a web server on every loopback address, and a Prometheus, in a private network."""
    pages = folder / "pages"
    pages.mkdir()
    (pages / "metrics").write_text("open_invoices 7\n")
    config = folder / "prometheus.yml"
    config.write_text(CONFIG)
    server = (sys.executable, "-m", "http.server", "8034", "--bind", "0.0.0.0", "--directory", str(pages))
    flags = (f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}", "--web.listen-address=127.0.0.1:9090")
    with (
        own_network(folder, resolv_conf="nameserver 127.0.0.1\n", nsswitch_conf="hosts: files dns\n") as network,
        judged(folder, network) as system,
        system.program(*server, log="server.log"),
    ):
        system.register(*(claim("large", f"10.1.0.{number}") for number in range(1, LARGE + 1)))
        system.register(*(claim("billing", f"127.9.0.{number}") for number in (1, 2, 3)))
        with system.program("prometheus", *flags, log="prometheus.log"):
            ready = f"{URL}/-/ready"
            wait_until(lambda: system.attempt("curl", "-sS", "--fail", ready).returncode == 0, "Prometheus is ready")
            yield Prometheus(system)


def test_prometheus_scrapes_every_instance_and_follows_the_fleet(tmp_path: Path) -> None:
    with prometheus(tmp_path) as judge:

        def healthy() -> set[str]:
            """Return the targets that were scraped without an error, by their SRV names."""
            return {one["labels"]["instance"] for one in judge.targets("billing") if one["health"] == "up"}

        wait_until(lambda: len(healthy()) == 3, "it scrapes all three", timeout_s=30)
        first = healthy()
        assert all(name.endswith(f".{ZONE}:8034") for name in first)
        for job in ("large", "addresses"):
            wait_until(partial(judge.has_all_of, job), "it has the whole of the large service, by SRV and by A")

        judge.system.deregister(claim("billing", "127.9.0.1"))
        judge.system.register(claim("billing", "127.9.0.4"), claim("billing", "127.9.0.5"))
        wait_until(lambda: len(healthy()) == 4, "it follows", timeout_s=30)
        second = healthy()
        assert len(first & second) == 2

        # The registry is gone, and Prometheus does not notice.
        judge.system.registry.stop()
        made, _ = judge.lookups()
        wait_until(lambda: judge.lookups()[0] >= made + 6, "it has asked again")
        assert healthy() == second
        assert len(judge.targets("large")) == LARGE
        assert judge.lookups()[1] == 0
