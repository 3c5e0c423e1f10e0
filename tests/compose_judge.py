"""What compose-go, the library of `docker compose`, makes of compose files: the judge of our own reader.

A small Go program in `compose_go/` answers; it is built once a run. Where it cannot be built, the tests that ask it
are skipped with the reason.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from cli.compose.model import ComposeService, Project
from tests.go_programs import built, go_tool

FOLDER: Final = Path(__file__).resolve().parent / "compose_go"
CASES: Final = Path(__file__).resolve().parent / "compose_cases"
_ANSWER_TIMEOUT_S: Final = 60


def asked(questions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return compose-go's answers. Skips the test, saying why, where there is no Go."""
    program = built(FOLDER)
    if isinstance(program, str):
        pytest.skip(f"NOT JUDGED BY COMPOSE: {program}")
    done = subprocess.run(
        [str(program)],
        input=json.dumps(list(questions)),
        capture_output=True,
        text=True,
        timeout=_ANSWER_TIMEOUT_S,
        check=True,
        env={"PATH": os.environ.get("PATH", "")},
    )
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def library() -> Path:
    """Return the folder of compose-go's own source, in Go's cache. Skips the test where there is no Go."""
    asked([])
    argv = [go_tool(), "list", "-m", "-f", "{{.Dir}}", "github.com/compose-spec/compose-go/v2"]
    done = subprocess.run(argv, cwd=FOLDER, capture_output=True, text=True, timeout=_ANSWER_TIMEOUT_S, check=True)
    return Path(done.stdout.strip())


def texts_of(go_file: Path) -> Iterator[str]:
    """Return the texts between backquotes in a Go file."""
    yield from re.findall(r"`([^`]*)`", go_file.read_text(encoding="utf-8"))


# -- both models in the same words


def theirs(project: Mapping[str, Any]) -> dict[str, Any]:
    """Return what compose-go's model says of everything that our model has."""
    return {
        "name": project["name"],
        "networks": {
            key: (network["name"], bool(network.get("external")))
            for key, network in (project.get("networks") or {}).items()
        },
        "services": {name: _their_service(body) for name, body in (project.get("services") or {}).items()},
    }


def _their_service(body: Mapping[str, Any]) -> dict[str, Any]:
    networks = body.get("networks") or {}
    deploy: dict[str, Any] = body.get("deploy") or {}
    check: dict[str, Any] | None = body.get("healthcheck")
    scale = deploy.get("replicas", body.get("scale"))
    test = tuple((check or {}).get("test") or ())
    return {
        "image": body.get("image") or None,
        "build": bool(body.get("build")),
        "container_name": body.get("container_name") or None,
        "hostname": body.get("hostname") or None,
        "domainname": body.get("domainname") or None,
        "network_mode": body.get("network_mode") or None,
        "networks": {
            name: (sorted(set((given or {}).get("aliases") or ())), _addresses(given or {}))
            for name, given in networks.items()
            if name != "#extensions"
        },
        "ports": sorted(
            {
                (p.get("host_ip") or "", str(p.get("published") or ""), p["target"], p["protocol"].lower())
                for p in body.get("ports") or ()
            }
        ),
        "expose": sorted(str(port).lower() for port in body.get("expose") or ()),
        "environment": body.get("environment") or {},
        "check": test[1:] if test[:1] in (("CMD",), ("CMD-SHELL",)) else test or None,
        "disabled": check is not None and (bool(check.get("disable")) or test[:1] == ("NONE",)),
        "depends_on": {
            name: (given["condition"], bool(given.get("required")))
            for name, given in (body.get("depends_on") or {}).items()
            if not _is_implied(given)
        },
        "links": list(body.get("links") or ()),
        "external_links": list(body.get("external_links") or ()),
        "extra_hosts": sorted({tuple(host.split("=", 1)) for host in body.get("extra_hosts") or ()}),
        "profiles": sorted(body.get("profiles") or ()),
        "replicas": None if scale is None else str(scale),
        "labels": body.get("labels") or {},
        "command": tuple(body.get("command") or ()),
        "entrypoint": tuple(body.get("entrypoint") or ()),
    }


def _is_implied(given: Mapping[str, Any]) -> bool:
    """Return whether a dependency comes of `links`, `volumes_from` or a shared namespace, or says as little."""
    return given["condition"] == "service_started" and bool(given.get("required"))


def _addresses(given: Mapping[str, Any]) -> list[str]:
    return [str(given[key]) for key in ("ipv4_address", "ipv6_address") if given.get(key)]


def ours(project: Project) -> dict[str, Any]:
    """Return the same of our model."""
    used = {a.network for service in project.services.values() for a in service.networks}
    return {
        "name": project.name,
        "networks": {
            key: (network.called or f"{project.name}_{key}", network.external)
            for key, network in project.networks.items()
            if key in used or network.place.line
        },
        "services": {name: _our_service(service) for name, service in project.services.items()},
    }


def _our_service(service: ComposeService) -> dict[str, Any]:
    check = service.healthcheck
    return {
        "image": service.image,
        "build": service.build is not None,
        "container_name": service.container_name,
        "hostname": service.hostname,
        "domainname": service.domainname,
        "network_mode": service.network_mode,
        "networks": {a.network: (sorted(set(a.aliases)), list(a.addresses)) for a in service.networks},
        "ports": sorted({binding for port in service.ports for binding in _bindings(port)}),
        "expose": sorted(
            (str(p.targets[0]) if len(p.targets) == 1 else f"{p.targets[0]}-{p.targets[-1]}")
            + (f"/{p.protocol}" if "/" in p.raw else "")
            for p in service.expose
        ),
        "environment": {entry.name: entry.value for entry in service.environment},
        "check": None if check is None or not check.words else check.words,
        "disabled": check is not None and check.disabled,
        "depends_on": {
            d.name: (d.condition, d.required)
            for d in service.depends_on
            if d.condition != "service_started" or not d.required
        },
        "links": list(service.links),
        "external_links": list(service.external_links),
        "extra_hosts": sorted(set(service.extra_hosts)),
        "profiles": sorted(service.profiles),
        "replicas": service.replicas,
        "labels": {name: label.value for name, label in service.labels.items()},
        "command": service.command,
        "entrypoint": service.entrypoint,
    }


def _bindings(port: Any) -> Iterator[tuple[str, str, int, str]]:
    shown = port.published
    for at, target in enumerate(port.targets):
        if not shown:
            text = ""
        elif len(shown) == len(port.targets):
            text = str(shown[at])
        else:
            text = f"{shown[0]}-{shown[-1]}"
        yield port.host_ip, text, target, port.protocol
