"""The HTTP client of the one-shot commands: one request, one answer, one line of text on failure.

It uses only the standard library, so that `vertice resolve` in a shell loop starts fast. It retries nothing
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
from registry_core.settings import http_url, items, listen, secret, shown

AGENT_URL: Final = "http://127.0.0.1:8880"
REGISTRY_URL: Final = "http://127.0.0.1:8888"
TOKEN: Final = "VERTICE_REGISTRY_TOKEN"  # noqa: S105 - the name of a setting
SRV_PREFIX: Final = "srv:"
TIMEOUT_S: Final = 5.0
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024


class Unreachable(VerticeError):
    """Raised when nothing answers at the address, or the answer is not HTTP; its text is one line."""


class HttpResponse(NamedTuple):
    """An HTTP response."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        """Return the decoded body. Raises Unreachable when it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise Unreachable("the answer is not JSON: is this the address of an agent or a registry?") from None

    @property
    def message(self) -> str:
        """The message in an error's body, as one line."""
        try:
            said = json.loads(self.body)["message"]
        except (ValueError, RecursionError, KeyError, TypeError):
            said = self.body.decode("utf-8", "replace").strip()[:200] or f"HTTP status {self.status}"
        return " ".join(str(said).split())


def connect(base_url: str, timeout_s: float = TIMEOUT_S) -> http.client.HTTPConnection:
    """Return an unopened connection to the host of `base_url`."""
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
    """Return the answer to a request. Raises Unreachable, also when the answer exceeds `most_bytes`."""
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
    """Return in a few words why a connection failed."""
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__} {error}".strip()


def add_agent_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--agent`, for commands that ask the agent on this machine."""
    parser.add_argument(
        "--agent", metavar="URL", help=f"the agent's URL (default: AGENT_HTTP_LISTEN, else {AGENT_URL})"
    )


def agent_url(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> str:
    """Return the agent's URL from the flag, else from AGENT_HTTP_LISTEN, else the default.

    Raises SettingsError when the URL is unusable.
    """
    if arguments.agent is not None:
        return _read("--agent", arguments.agent)
    given = environment.get("AGENT_HTTP_LISTEN", "").strip()
    if not given:
        return AGENT_URL
    try:
        where = listen(given)
    except ValueError as error:
        where_shown = f"AGENT_HTTP_LISTEN: {shown(given)}"
        raise SettingsError(f"{where_shown} cannot be used: {error} (example: 127.0.0.1:8880)") from None
    return f"http://{host_port(where.local_host, where.port)}"


def add_registry_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--registry`, for commands that ask the registry itself."""
    parser.add_argument(
        "--registry",
        metavar="URL",
        help=f"the registry's URL (default: the first in REGISTRY_URL, else {REGISTRY_URL})",
    )


def registry_url(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> str:
    """Return the registry's URL from the flag, else the first one in REGISTRY_URL, else the default.

    Raises SettingsError when the URL is unusable.
    """
    if arguments.registry is not None:
        return _read("--registry", arguments.registry)
    given = environment.get("REGISTRY_URL", "")
    # The part after '#' is a zone, which only the agent needs. SRV names would need a lookup and are skipped.
    urls = items(lambda url: _read("REGISTRY_URL", url.partition("#")[0]))(given)
    return next((url for url in urls if not url.startswith(SRV_PREFIX)), REGISTRY_URL)


def credentials(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the headers that authenticate to the registry: the shared token, if one is set. Raises SettingsError."""
    given = environment.get(TOKEN, "")
    if not given.strip():
        return {}
    try:
        return {"X-Registry-Token": secret(given)}
    except ValueError as error:
        raise SettingsError(f"{TOKEN}: the value cannot be used: {error} (example: s3cret)") from None


def _read(name: str, given: str) -> str:
    try:
        return given if given.startswith(SRV_PREFIX) and name == "REGISTRY_URL" else http_url(given)
    except ValueError as error:
        raise SettingsError(f"{name}: {shown(given)} cannot be used: {error} (example: {AGENT_URL})") from None


def warn_of_age(answer: HttpResponse) -> None:
    """Warn on stderr when an answer is old, or may lack something; the command prints it anyway."""
    state = answer.headers.get("X-Cache", "fresh").lower()
    if state == "partial":
        print("vertice: partial: the registry does not know everything yet; there may be more", file=sys.stderr)
    elif state != "fresh":
        age = answer.headers.get("Age", "?")
        print(f"vertice: {state}: this is the state as of {age} s ago; the registry cannot be reached", file=sys.stderr)
