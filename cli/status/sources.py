"""Asks a registry, and the agent on this machine, for what `vertice status` and `vertice top` show."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from cli.client import REGISTRY_URL, HttpResponse, Unreachable, ask, get, registry_url, said_by
from registry_core.security.sending import RequestSigner


def agent_at(url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the health and the state of the agent at `url`. Raises Unreachable."""
    with said_by("an agent", url):
        health, about = _report(get(url, "/health")), _report(get(url, "/self"))
        return _with(health, "status"), _with(about, "sync", "view", "services")


def deployment_at(url: str, signer: RequestSigner) -> dict[str, Any]:
    """Return what the registry at `url` says of all replicas. Raises Unreachable."""
    with said_by("a registry", url):
        answer = ask("GET", url, "/deployment", signer=signer)
        if answer.status == HTTPStatus.NOT_FOUND:
            raise Unreachable(f"{url} is no registry of this release: it says nothing of its deployment")
        if answer.status != HTTPStatus.OK:
            raise Unreachable(f"{url}: {answer.message}")
        return _with(_object(answer), "status", "replicas", "silent", "shards", "services")


def agents_at(url: str, signer: RequestSigner) -> dict[str, Any] | None:
    """Return which agents reported to the registry at `url`; None when it does not say. Raises Unreachable."""
    answer = ask("GET", url, "/agents", signer=signer)
    return _object(answer) if answer.status == HTTPStatus.OK else None


def registry_of(arguments: argparse.Namespace, environment: Mapping[str, str], about: Mapping[str, Any] | None) -> str:
    """Return the registry to ask: as the settings say, else the one that the agent uses. Raises SettingsError."""
    configured = registry_url(arguments, environment)
    if arguments.registry is not None or environment.get("REGISTRY_URL", "").strip() or about is None:
        return configured
    in_use = about["sync"]["registry"]
    return str(in_use) if in_use else REGISTRY_URL


def _report(answer: HttpResponse) -> dict[str, Any]:
    """Return the body of a report. Raises Unreachable; TypeError for another body. An unhealthy agent says 503."""
    if answer.status not in (HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE):
        raise TypeError("it is no report")
    return _object(answer)


def _object(answer: HttpResponse) -> dict[str, Any]:
    said = answer.json()
    if not isinstance(said, dict):
        raise TypeError("it is no object")
    return said


def _with(said: dict[str, Any], *fields: str) -> dict[str, Any]:
    """Return an object that has these fields. Raises KeyError when it lacks one."""
    if not said.keys() >= set(fields):
        raise KeyError(fields)
    return said
