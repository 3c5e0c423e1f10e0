"""A real agent that reloads its settings again and again while others query it all the time."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.chaos.asking import Target
from tests.chaos.fleet import asking
from tests.chaos.system import say
from tests.programs import NO_INSTANCE_LIMITS, VERTICE, accepts, free_port, running, wait_until
from tests.scenarios.system import get_json, known_services

STAYS = {"stays_one": "127.77.3.1", "stays_two": "127.77.3.2"}
ROUNDS = 8
SEED = 20


def config(registry: str, number: int) -> str:
    """Return the file of one round: the same two services, whose weight changes, and one that comes or goes."""
    services = [
        f'[[service]]\nname = "{name}"\nhost = "{host}"\nport = 7000\nweight = {1 + number}\n'
        for name, host in STAYS.items()
    ]
    if number % 2:
        services.append('[[service]]\nname = "comes_and_goes"\nhost = "127.77.3.3"\nport = 7000\n')
    zone = f'zone = "zone-{number % 3}"\nregistry_url = "{registry}"\ncheck = "none"\ndrain_wait = 0\n'
    return f"[agent]\n{zone}when_none_pass = '{'all' if number % 2 else 'none'}'\n" + "\n".join(services)


def weights(registry: str) -> set[int]:
    return {one["weight"] for one in get_json(f"{registry}/catalog")["instances"] if one["service_name"] in STAYS}


def test_no_query_is_lost_over_many_reloads_by_file_and_by_signal(tmp_path: Path) -> None:
    registry_port, http_port, dns_port = free_port(), free_port(), free_port()
    registry, agent = f"http://127.0.0.1:{registry_port}", f"http://127.0.0.1:{http_port}"
    file = tmp_path / "agent.toml"
    file.write_text(config(registry, 0))
    environment = {
        "AGENT_CONFIG": str(file),
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{http_port}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{dns_port}",
    }
    argv = [*VERTICE, "registry", "--listen", f"127.0.0.1:{registry_port}"]
    with (
        running(argv, tmp_path / "registry.log", {"REGISTRY_WARMING": "0", **NO_INSTANCE_LIMITS}),
        running([*VERTICE, "agent"], tmp_path / "agent.log", environment) as program,
    ):
        wait_until(lambda: accepts(registry_port) and accepts(http_port), "both listen")
        wait_until(lambda: known_services(agent) == sorted(STAYS), "the agent knows its services")
        targets = [Target(agent, STAYS), Target(str(dns_port), STAYS)]
        with asking(tmp_path, targets, SEED) as asked:
            time.sleep(0.5)
            for number in range(1, ROUNDS + 1):
                file.write_text(config(registry, number))
                if number % 4:
                    program.signal(signal.SIGHUP)
                wait_until(lambda: weights(registry) == {1 + number}, f"round {number} counts")  # noqa: B023 - waited for here
                names = sorted([*STAYS, "comes_and_goes"] if number % 2 else STAYS)
                wait_until(lambda: known_services(agent) == names, "and its services")  # noqa: B023 - as above
            file.write_text("[agent\n")
            program.signal(signal.SIGHUP)
            wait_until(lambda: get_json(f"{agent}/self")["reload"]["problem"] != "", "the wrong file is refused")
            time.sleep(0.5)
        report = get_json(f"{agent}/self")["reload"]
        say(f"{asked.lookups} lookups over {report['taken']} reloads: {len(asked.failures)} failed, ")
        say(f"the longest took {asked.longest_lookup_s * 1000:.0f} ms (seed {SEED})")
        assert asked.failures == []
        assert asked.lookups > 500
        assert (report["taken"], report["kept"]) == (ROUNDS, 1)
        assert program.output().count("settings_kept") == 1
        assert program.stop() == 0
        assert get_json(f"{registry}/services") == [], "every service was deregistered at the end"


def test_a_hang_up_without_a_file_is_harmless(tmp_path: Path) -> None:
    http_port = free_port()
    environment = {
        "REGISTRY_URL": f"http://127.0.0.1:{free_port()}",
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{http_port}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{free_port()}",
    }
    with running([*VERTICE, "agent"], tmp_path / "agent.log", environment) as program:
        wait_until(lambda: accepts(http_port), "it listens")
        wait_until(lambda: "vertice agent:" in program.output(), "it has started")
        for number in range(3):
            program.signal(signal.SIGHUP)
            taken = number + 1
            wait_until(lambda: get_json(f"http://127.0.0.1:{http_port}/self")["reload"]["taken"] >= taken, "it read")  # noqa: B023 - waited for here
        assert program.stop() == 0
