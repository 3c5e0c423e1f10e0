"""An agent that shares a container's network, which is replaced when the container restarts."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.namespace import LOOKS, Namespace
from tests.networks import why_not
from tests.programs import VERTICE, find, running, wait_until


def test_an_agent_is_orphaned_when_its_network_is_gone_and_stays_gone() -> None:
    seen = frozenset({"eth0"})
    namespace = Namespace(lambda: seen)
    assert not namespace.is_left_behind()
    seen = frozenset()
    assert not any(namespace.is_left_behind() for _ in range(LOOKS - 1))
    seen = frozenset({"eth1"})
    assert not namespace.is_left_behind(), "another network counts too"
    seen = frozenset()
    assert [namespace.is_left_behind() for _ in range(LOOKS)] == [*[False] * (LOOKS - 1), True]


def test_an_agent_that_never_had_a_network_is_not_orphaned() -> None:
    namespace = Namespace(frozenset)
    assert not any(namespace.is_left_behind() for _ in range(2 * LOOKS))


@contextlib.contextmanager
def namespace() -> Iterator[str]:
    """Create a network namespace with an interface besides lo."""
    name = f"vertice-ns-{os.getpid()}"
    subprocess.run([find("ip"), "netns", "add", name], check=True, timeout=20)
    try:
        for words in (("set", "lo", "up"), ("add", "eth0", "type", "veth", "peer", "name", "eth1")):
            subprocess.run([find("ip"), "-n", name, "link", *words], check=True, timeout=20)
        yield name
    finally:
        subprocess.run([find("ip"), "netns", "delete", name], check=True, timeout=20)


@pytest.mark.parametrize("follows", ["on", "off"])
def test_an_agent_whose_namespace_died_ends_to_be_restarted(tmp_path: Path, follows: str) -> None:
    if reason := why_not():
        pytest.skip(f"no network namespaces here: {reason}")
    with namespace() as name:
        within = [find("ip"), "netns", "exec", name]
        settings = {
            "AGENT_HTTP_LISTEN": "127.0.0.1:8880",
            "AGENT_DNS_LISTEN": "127.0.0.1:8653",
            "AGENT_DNS_FORWARD": "none",
            "REGISTRY_URL": "http://127.0.0.1:9",
            "AGENT_FOLLOW_NAMESPACE": follows,
        }

        def answers() -> bool:
            argv = [*within, find("curl"), "-sf", "--max-time", "2", "http://127.0.0.1:8880/live"]
            return subprocess.run(argv, capture_output=True, timeout=20, check=False).returncode == 0

        with running([*within, *VERTICE, "agent"], tmp_path / "agent.log", settings) as program:
            wait_until(answers, "it answers")
            subprocess.run([*within, find("ip"), "link", "delete", "eth0"], check=True, timeout=20)
            if follows == "on":
                wait_until(lambda: program.process.poll() is not None, "it ends", timeout_s=20)
                assert program.process.returncode == 0
                assert "namespace_gone" in program.output()
            else:
                with pytest.raises(subprocess.TimeoutExpired):
                    program.process.wait(LOOKS + 2)
                assert answers()
