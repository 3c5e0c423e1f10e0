"""An agent of the release before, which sends the secret as it is, over plain HTTP to another machine's registry.

It needs two networks on this machine, which need root.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.networks import Networks, networks
from tests.previous import Release, previous_release
from tests.programs import VERTICE, Program, free_port, running, wait_until
from tests.scenarios.system import get_json, health_of

pytestmark = pytest.mark.long

SECRET = "a-long-random-word"


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return previous_release(tmp_path_factory.mktemp("previous"))


@contextlib.contextmanager
def fleet(folder: Path, both: Networks, before: Release, plain: str) -> Iterator[tuple[str, Program, Program]]:
    """Run a registry on one machine and an agent of the release before on another; yield the URL and the programs."""
    port = free_port()
    there, here = both.majority, both.minority
    settings = {"REGISTRY_LISTEN": f":{port}", "REGISTRY_SECRET": SECRET, "REGISTRY_WARMING": "0"}
    settings |= {"REGISTRY_PLAIN_AUTH": plain} if plain else {}
    for_agent = {
        "SERVICE_NAME": "billing",
        "SERVICE_HOST": here.host,
        "SERVICE_PORT": "8034",
        "AGENT_CHECK": "none",
        "AGENT_HTTP_LISTEN": "127.0.0.1:8880",
        "AGENT_DNS_LISTEN": "127.0.0.1:8653",
        "REGISTRY_URL": f"http://{there.host}:{port}",
        "VERTICE_REGISTRY_TOKEN": SECRET,
    }
    url = f"http://{there.control}:{port}"
    with running([*there.within, *VERTICE, "registry"], folder / "registry.log", settings) as registry:
        wait_until(lambda: answers(url), "the registry answers", timeout_s=60)
        with running([*here.within, *before.vertice, "agent"], folder / "agent.log", for_agent) as agent:
            yield url, registry, agent


def answers(url: str) -> bool:
    try:
        return bool(get_json(f"{url}/live"))
    except OSError:
        return False


def test_it_is_accepted_with_a_warning_for_one_more_release(tmp_path: Path, before: Release) -> None:
    with networks() as both, fleet(tmp_path, both, before, "") as (url, registry, _):
        wait_until(lambda: get_json(f"{url}/services") == ["billing"], "it is registered", timeout_s=60)
        secrets = health_of(url)["components"]["access"]["secrets"]
        assert secrets["plain"] == "warn"
        assert secrets["plain_exposed"] >= 1
        assert "plain_secrets_are_accepted" in registry.output(), "said at the start"
        assert both.minority.host in registry.output(), "and for each sender"


def test_it_is_refused_with_the_way_out_where_a_setting_says_so(tmp_path: Path, before: Release) -> None:
    with networks() as both, fleet(tmp_path, both, before, "off") as (url, _, agent):
        wait_until(lambda: "REGISTRY_PLAIN_AUTH=on" in agent.output(), "the agent is told", timeout_s=60)
        assert health_of(url)["instances"] == 0
