"""What an agent keeps across restarts, with everything central down: killed, damaged, and without a disk."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.view.state_dir import SET_ASIDE, SNAPSHOT
from tests.chaos.system import say
from tests.programs import VERTICE, Program, accepts, find, free_port, running, wait_until
from tests.scenarios.system import get_json, known_services

SERVICES = [f"service_{number}" for number in range(20)]
HOST = "127.77.0.9"
CENTRAL = {"REGISTRY_WARMING": "0"}


class Agent:
    """One agent with a folder's state, started and killed."""

    def __init__(self, folder: Path, registry_port: int, **settings: str) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.http_port, self.dns_port = free_port(), free_port()
        self.log = folder / "agent.log"
        self._environment = {
            "REGISTRY_URL": f"http://127.0.0.1:{registry_port}",
            "AGENT_HTTP_LISTEN": f"127.0.0.1:{self.http_port}",
            "AGENT_DNS_LISTEN": f"127.0.0.1:{self.dns_port}",
            "AGENT_STATE_DIR": str(self.state),
            **settings,
        }

    def running(self) -> contextlib.AbstractContextManager[Program]:
        return running([*VERTICE, "agent"], self.log, self._environment)

    def dig(self, service: str) -> str:
        words = [f"{service}.vertice.internal", "A", "+tries=1", "+timeout=1"]
        argv = [find("dig"), "@127.0.0.1", "-p", str(self.dns_port), *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False).stdout

    def about(self, path: str = "/self") -> dict[str, object]:
        found: dict[str, object] = get_json(f"http://127.0.0.1:{self.http_port}{path}")
        return found

    def knows_all(self) -> bool:
        return accepts(self.http_port) and known_services(f"http://127.0.0.1:{self.http_port}") == sorted(SERVICES)

    def wrote(self) -> bool:
        snapshot = self.about()["snapshot"]
        return isinstance(snapshot, dict) and snapshot["instances"] == len(SERVICES)


@contextlib.contextmanager
def central(folder: Path, port: int) -> Iterator[None]:
    """Run a registry with an agent that registers all services, for the duration of a `with`."""
    config = folder / "fleet.toml"
    tables = [f'[[service]]\nname = "{s}"\nhost = "{HOST}"\nport = {7000 + n}\n' for n, s in enumerate(SERVICES)]
    config.write_text("\n".join(tables), encoding="utf-8")
    fleet = {
        "REGISTRY_URL": f"http://127.0.0.1:{port}",
        "AGENT_CHECK": "none",
        "AGENT_DRAIN_WAIT": "0",
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{free_port()}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{free_port()}",
    }
    with contextlib.ExitStack() as stack:
        argv = [*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"]
        registry = stack.enter_context(running(argv, folder / "registry.log", CENTRAL))
        wait_until(lambda: accepts(port), "the registry listens")
        teller = stack.enter_context(running([*VERTICE, "agent", "--config", str(config)], folder / "fleet.log", fleet))
        yield
        for program in (teller, registry):  # nothing is deregistered
            program.process.kill()
            program.process.wait(10)


def test_a_killed_agent_answers_again_within_a_second_with_everything_central_down(tmp_path: Path) -> None:
    port = free_port()
    agent = Agent(tmp_path, port)
    with central(tmp_path, port), agent.running() as program:
        wait_until(agent.knows_all, "the agent knows everybody", timeout_s=20)
        wait_until(agent.wrote, "the snapshot is written", timeout_s=20)
        program.process.kill()
        program.process.wait(10)
    began = time.monotonic()
    with agent.running() as program:
        wait_until(lambda: HOST in agent.dig(SERVICES[0]), "it answers from the snapshot", every_s=0.02)
        say(f"agent killed and restarted, everything central away: first answer after {time.monotonic() - began:.2f} s")
        for service in SERVICES:
            answer = agent.dig(service)
            assert HOST in answer
            assert "EDE: 3 (Stale Answer)" in answer
        assert "status: SERVFAIL" in agent.dig("nobody"), "a missing name may exist"
        assert get_json(f"http://127.0.0.1:{agent.http_port}/services/{SERVICES[0]}")["host"] == HOST
        assert program.process.poll() is None
    with central(tmp_path, port), agent.running():
        wait_until(agent.knows_all, "the agent knows everybody", timeout_s=20)
        wait_until(lambda: "EDE" not in agent.dig(SERVICES[0]), "fresh again", timeout_s=20)


def test_a_damaged_snapshot_is_set_aside_and_the_agent_starts_clean(tmp_path: Path) -> None:
    agent = Agent(tmp_path, free_port())
    agent.state.mkdir()
    (agent.state / SNAPSHOT).write_bytes(b'{"format":"vertice-agent-snapshot","version":1,"count":1}\n{"inst')
    with agent.running() as program:
        wait_until(lambda: "status: SERVFAIL" in agent.dig("service_0"), "it answers that it cannot tell")
        lines = [json.loads(line) for line in program.output().splitlines() if line.startswith("{")]
    assert [line["event"] for line in lines].count("snapshot_set_aside") == 1
    assert (agent.state / SET_ASIDE).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT PROVEN HERE: only root can mount a disk that is full, or read-only")
def test_a_full_or_read_only_disk_costs_no_answer_and_is_logged_once(tmp_path: Path) -> None:
    port = free_port()
    agent = Agent(tmp_path, port)
    agent.state.mkdir()
    with central(tmp_path, port), mounted(agent.state, "size=4k,mode=0700"), agent.running() as program:
        wait_until(agent.knows_all, "the agent knows everybody", timeout_s=20)
        wait_until(lambda: "snapshot_not_written" in program.output(), "it says that the disk is full", timeout_s=20)
        assert HOST in agent.dig(SERVICES[0])
        snapshot = agent.about()["snapshot"]
        assert isinstance(snapshot, dict)
        assert snapshot["problem"] == "No space left on device"
        assert sorted(p.name for p in agent.state.iterdir()) == ["identity.json", "lock"], (
            "nothing half-written is left"
        )
        subprocess.run(["mount", "-o", "remount,size=1m", str(agent.state)], check=True, timeout=10)
    with central(tmp_path, port), mounted(agent.state, "ro,mode=0700"), agent.running() as program:
        wait_until(agent.knows_all, "the agent knows everybody", timeout_s=20)
        assert "state_not_kept" in program.output()
        assert "Read-only file system" in program.output()


@contextlib.contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """Mount a small in-memory disk for the duration of a `with`."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True, timeout=10)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=10)


def test_the_environment_and_a_file_are_used_as_a_last_resort(tmp_path: Path) -> None:
    static = tmp_path / "static.toml"
    static.write_text('archive = ["http://127.77.0.3:9003"]\nbilling = "http://127.77.0.99:1"\n')
    agent = Agent(tmp_path, free_port(), AGENT_STATIC_FILE=str(static), BILLING_URL="http://127.77.0.1:9001")
    with agent.running():
        wait_until(lambda: accepts(agent.http_port), "the agent listens")
        for service, address in (("billing", "127.77.0.1:9001"), ("archive", "127.77.0.3:9003")):
            assert address in str(agent.about(f"/services/{service}")["endpoint"])
            assert address.partition(":")[0] in agent.dig(service)
