"""The HTTP client of the one-shot commands: one request, one answer, one line when it fails.

The standard library alone, so that `vertice resolve` in a shell loop starts fast. It retries nothing
and keeps no connection.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from registry_core.domain.host_port import host_port
from registry_core.errors import SettingsError, VerticeError
from registry_core.settings import http_url, items, listen

AGENT_URL: Final = "http://127.0.0.1:8880"
REGISTRY_URL: Final = "http://127.0.0.1:8888"
TOKEN: Final = "VERTICE_REGISTRY_TOKEN"  # noqa: S105 - the name of a setting
SRV_PREFIX: Final = "srv:"
TIMEOUT_S: Final = 5.0
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024


class Unreachable(VerticeError):
    """Raised when nobody answers at the address, or what answers is no HTTP; its text is one line."""


class HttpResponse(NamedTuple):
    """What was answered."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        """Return the body, decoded. Raises Unreachable when something else than JSON answered."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise Unreachable("the answer is not JSON: is this the address of an agent or a registry?") from None

    @property
    def message(self) -> str:
        """What an error's body says, in one line."""
        try:
            said = json.loads(self.body)["message"]
        except (ValueError, RecursionError, KeyError, TypeError):
            said = self.body.decode("utf-8", "replace").strip()[:200] or f"HTTP status {self.status}"
        return " ".join(str(said).split())


def connect(base_url: str, timeout_s: float = TIMEOUT_S) -> http.client.HTTPConnection:
    """Return a connection, not yet open, to the host of `base_url`."""
    url = urlsplit(base_url)
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    return kind(url.hostname or "", url.port, timeout=timeout_s)


def get(base_url: str, path: str, timeout_s: float = TIMEOUT_S) -> HttpResponse:
    """Return the answer to `GET base_url + path`. Raises Unreachable."""
    return ask("GET", base_url, path, timeout_s=timeout_s)


def ask(
    method: str,
    base_url: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    *,
    body: bytes | None = None,
    timeout_s: float = TIMEOUT_S,
    most_bytes: int = MAX_ANSWER_BYTES,
) -> HttpResponse:
    """Return the answer to a request. Raises Unreachable, also for one of more than `most_bytes`."""
    connection = connect(base_url, timeout_s)
    try:
        connection.request(method, urlsplit(base_url).path + path, body, {"Accept": "*/*", **(headers or {})})
        response = connection.getresponse()
        said = response.read(most_bytes + 1)
        if len(said) > most_bytes:
            raise Unreachable(f"{base_url} answers with more than {most_bytes} bytes")
        return HttpResponse(response.status, response.headers, said)
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"no answer from {base_url}: {reason(error)}") from None
    finally:
        connection.close()


def reason(error: Exception) -> str:
    """Return why a connection failed, in a few words."""
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__} {error}".strip()


def add_agent_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--agent`, for the commands that ask the agent on this machine."""
    parser.add_argument(
        "--agent", metavar="URL", help=f"the agent's URL (default: AGENT_HTTP_LISTEN, else {AGENT_URL})"
    )


def agent_url(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> str:
    """Return the agent's URL: the flag, else where AGENT_HTTP_LISTEN says it listens, else the default.

    Raises SettingsError for one that cannot be used.
    """
    if arguments.agent is not None:
        return _read("--agent", arguments.agent)
    given = environment.get("AGENT_HTTP_LISTEN", "").strip()
    if not given:
        return AGENT_URL
    try:
        where = listen(given)
    except ValueError as error:
        raise SettingsError(f"AGENT_HTTP_LISTEN: {given!r} cannot be used: {error} (example: 127.0.0.1:8880)") from None
    # It listens everywhere: then it listens here, too.
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
    return f"http://{host_port(everywhere.get(where.host, where.host), where.port)}"


def add_registry_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--registry`, for the commands that ask the registry itself."""
    parser.add_argument(
        "--registry",
        metavar="URL",
        help=f"the registry's URL (default: the first in REGISTRY_URL, else {REGISTRY_URL})",
    )


def registry_url(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> str:
    """Return the registry's URL: the flag, else the first of REGISTRY_URL, else the default.

    Raises SettingsError for one that cannot be used.
    """
    if arguments.registry is not None:
        return _read("--registry", arguments.registry)
    given = environment.get("REGISTRY_URL", "")
    # A zone is for the agent, which chooses; a name with SRV records has to be looked up, and is passed over.
    urls = items(lambda url: _read("REGISTRY_URL", url.partition("#")[0]))(given)
    return next((url for url in urls if not url.startswith(SRV_PREFIX)), REGISTRY_URL)


def credentials(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the headers that show the registry who asks: the shared token, if there is one."""
    token = environment.get(TOKEN, "").strip()
    return {"X-Registry-Token": token} if token else {}


def _read(name: str, given: str) -> str:
    try:
        return given if given.startswith(SRV_PREFIX) and name == "REGISTRY_URL" else http_url(given)
    except ValueError as error:
        raise SettingsError(f"{name}: {given!r} cannot be used: {error} (example: {AGENT_URL})") from None


def warn_of_age(answer: HttpResponse) -> None:
    """Say on stderr when an answer is old: it is given all the same."""
    state = answer.headers.get("X-Cache", "fresh").lower()
    if state != "fresh":
        age = answer.headers.get("Age", "?")
        print(f"vertice: {state}: this is the state of {age} s ago; the registry cannot be reached", file=sys.stderr)
