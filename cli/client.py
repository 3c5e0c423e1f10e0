"""The HTTP client of the one-shot commands: one request, one answer, one line of text on failure.

It uses only the standard library, so that `vertice resolve` in a shell loop starts fast. It retries nothing
and keeps no connection.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from agent.settings.local_port import HTTP_TOKEN, WRITE_HEADER
from cli.terminal import printable
from registry_core.causes import cause_of
from registry_core.domain.host_port import host_port
from registry_core.domain.names import MAX_LABEL_LENGTH, name_in_zone
from registry_core.errors import SettingsError, VerticeError
from registry_core.ports.clock import SystemClock
from registry_core.security.registry_keys import REGISTRY_KEY_TABLE, REGISTRY_SEND, sender_keys
from registry_core.security.sending import MAX_ATTEMPTS, CredentialRefusal, Note, RequestSigner
from registry_core.setting_names import misspelt
from registry_core.setting_sources import read_settings
from registry_core.settings import http_url, items, listen, shown
from registry_core.watch.clock import time_of

AGENT_URL: Final = "http://127.0.0.1:8880"
REGISTRY_URL: Final = "http://127.0.0.1:8888"
SRV_PREFIXES: Final = ("srv:", "srv+https:")
TIMEOUT_S: Final = 5.0
DNS_ZONE: Final = "vertice.internal"
WRONG_PART: Final = (
    "it does not know this request: --agent takes the address of an agent (port 8880), --registry that of a registry "
    "(port 8888), each of this release"
)
MOST_SHOWN: Final = 1000
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024


class Unreachable(VerticeError):
    """Raised when nothing answers at the address, or the answer is not HTTP; its text is one line."""


class CommandRequest(NamedTuple):
    """A request; `target` is its path with the query, and with the path of `base_url`."""

    base_url: str
    method: str
    target: str
    headers: Mapping[str, str] = {}
    body: bytes | None = None


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

    def text(self) -> str:
        """Return the body as text. Raises Unreachable when it is not UTF-8."""
        try:
            return self.body.decode()
        except UnicodeDecodeError:
            raise Unreachable("the answer is not text: is this the address of an agent or a registry?") from None

    @property
    def refusal(self) -> CredentialRefusal:
        """What a refusal of credentials says."""
        schemes = ", ".join(self.headers.get_all("WWW-Authenticate") or ())
        date = time_of(self.headers.get("Date", ""))
        try:
            said = json.loads(self.body)
            return CredentialRefusal(self.status, str(said["error"]), schemes, said.get("example"), date)
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            return CredentialRefusal(self.status, schemes=schemes, date=date)

    @property
    def is_not_found(self) -> bool:
        """Whether an agent or a registry says that there is no such thing; any server says that of a path."""
        try:
            said = json.loads(self.body)
            return self.status == HTTPStatus.NOT_FOUND and bool(said["field"])
        except (ValueError, RecursionError, KeyError, TypeError):
            return False

    @property
    def message(self) -> str:
        """The message in an error's body, as one line."""
        try:
            problem = json.loads(self.body)
            said = problem["message"]
            if self.status == HTTPStatus.NOT_FOUND and problem.get("error") == "NotFound" and "field" in problem:
                # With a field, something that was named does not exist; without one, the path does not.
                said = said if problem["field"] else WRONG_PART
        except (ValueError, RecursionError, KeyError, TypeError):
            said = self.body.decode("utf-8", "replace").strip()[:200]
            if not said or said.startswith("<"):  # a page for people
                said = f"HTTP status {self.status}: is this the address of an agent or a registry?"
        return printable(" ".join(str(said).split()), most=MOST_SHOWN)


@contextlib.contextmanager
def said_by(whom: str, url: str) -> Iterator[None]:
    """Take answers of another shape than those of `whom` for those of another server. Raises Unreachable."""
    try:
        yield
    except (KeyError, TypeError, AttributeError):
        raise Unreachable(f"{url} answers, but is not {whom}") from None


def connect(base_url: str, timeout_s: float = TIMEOUT_S) -> http.client.HTTPConnection:
    """Return an unopened connection to the host of `base_url`. Raises SettingsError for files of TLS."""
    url = urlsplit(base_url)
    if url.scheme != "https":
        return http.client.HTTPConnection(url.hostname or "", url.port, timeout=timeout_s)
    # A command that does not need TLS does not load it.
    from cli.tls import context_from  # noqa: PLC0415 - most commands speak no TLS

    return http.client.HTTPSConnection(
        url.hostname or "", url.port, timeout=timeout_s, context=context_from(os.environ)
    )


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
    signer: RequestSigner | None = None,
) -> HttpResponse:
    """Return the answer to a request. Raises Unreachable, also when the answer exceeds `most_bytes`.

    With `signer` it proves to a registry who sends it.
    """
    given = CommandRequest(base_url, method, urlsplit(base_url).path + path, {"Accept": "*/*", **(headers or {})}, body)

    def send(request: CommandRequest) -> HttpResponse:
        return _send(request, timeout_s, most_bytes)

    return send(given) if signer is None else sent_by(signer, given, send)


def sent_by(
    signer: RequestSigner, request: CommandRequest, send: Callable[[CommandRequest], HttpResponse]
) -> HttpResponse:
    """Return the answer to `request`, sent by `send` with credentials: anew while that may help."""
    for left in reversed(range(MAX_ATTEMPTS)):
        base_url, method, target, headers, body = request
        attempt = signer.attempt(base_url, method, target, headers=headers, body=body)
        answer = send(request._replace(headers={**headers, **attempt.headers}))
        if not left or answer.status not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.SERVICE_UNAVAILABLE):
            return answer
        wait_s = signer.again(base_url, attempt, answer.refusal)
        if wait_s is None:
            return answer
        time.sleep(wait_s)
    raise AssertionError  # the last attempt returns


def _send(request: CommandRequest, timeout_s: float, most_bytes: int) -> HttpResponse:
    base_url = request.base_url
    connection = connect(base_url, timeout_s)
    try:
        connection.request(request.method, request.target, request.body, dict(request.headers))
        response = connection.getresponse()
        said = response.read(most_bytes + 1)
        if len(said) > most_bytes:
            raise Unreachable(f"{base_url} answers with more than {most_bytes} bytes")
        if response.length:  # that many bytes are missing
            raise Unreachable(f"the answer of {base_url} was cut short")
        return HttpResponse(response.status, response.headers, said)
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise Unreachable(f"no answer from {base_url}: {cause_of(error)}") from None
    finally:
        connection.close()


def agent_url(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> str:
    """Return the agent's URL from the flag, else from AGENT_HTTP_LISTEN, else the default.

    Raises SettingsError when the URL is unusable.
    """
    if arguments.agent is not None:
        return _address("--agent", arguments.agent, AGENT_URL)
    given = _set_in(environment, "AGENT_HTTP_LISTEN")
    if not given:
        return AGENT_URL
    try:
        where = listen(given)
    except ValueError as error:
        where_shown = f"AGENT_HTTP_LISTEN: {shown(given)}"
        raise SettingsError(f"{where_shown} cannot be used: {error} (example: 127.0.0.1:8880)") from None
    return f"http://{host_port(where.local_host, where.port)}"


def registry_url(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> str:
    """Return the registry's URL from the flag, else the first one in REGISTRY_URL, else the default.

    Raises SettingsError when the URL is unusable.
    """
    if arguments.registry is not None:
        return _address("--registry", arguments.registry, REGISTRY_URL)
    given = _set_in(environment, "REGISTRY_URL")
    # The part after '#' is a zone, which only the agent needs. SRV names would need a lookup and are skipped.
    urls = items(lambda url: _read_registry(url.partition("#")[0]))(given)
    return next((url for url in urls if not url.lower().startswith(SRV_PREFIXES)), REGISTRY_URL)


def service_name(given: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the name of the service that is meant: `Auth.vertice.internal.` is `auth`."""
    return name_in_zone(given, environment.get("AGENT_DNS_ZONE", "").strip() or DNS_ZONE)


def signer_in(environment: Mapping[str, str] = os.environ) -> RequestSigner:
    """Return what proves to a registry who sends a request, as the settings say. Raises SettingsError."""
    return RequestSigner(sender_keys(read_settings(REGISTRY_KEY_TABLE, environment)), SystemClock(), note=_warn)


def _warn(note: Note, url: str) -> None:
    if note is Note.SENT_IN_PLAIN:
        print(
            f"vertice: {url} is of the last release: it gets the secret itself, which others on the way can read "
            f"({REGISTRY_SEND.name}=signed forbids that)",
            file=sys.stderr,
        )


def local_credentials(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the headers of a write to an agent, with its token if one is set. Raises SettingsError."""
    tokens = read_settings((HTTP_TOKEN,), environment)[HTTP_TOKEN]
    return {WRITE_HEADER: "1", **({"Authorization": f"Bearer {tokens[0]}"} if tokens else {})}


def _set_in(environment: Mapping[str, str], name: str) -> str:
    """Return the text of a setting; empty when it is not set. Raises SettingsError when its name is misspelt."""
    given = environment.get(name, "").strip()
    for other in environment if not given else ():
        if misspelt(other, (name,)) is not None:
            raise SettingsError(f"{other}: there is no such setting (did you mean {name}?)")
    return given


def base_url(given: str) -> str:
    """Read a URL, `host:port` or `:port`, which is on this machine. Raises ValueError with the reason."""
    text = given.strip()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("it has characters that no address has")
    if "://" not in text:
        try:
            where = listen(text.rstrip("/"))
        except ValueError:
            raise ValueError("it is neither a URL nor host:port") from None
        text = f"http://{host_port(where.local_host, where.port)}"
    url = http_url(text)
    labels = (urlsplit(url).hostname or "").removesuffix(".").split(".")
    if not all(0 < len(label) <= MAX_LABEL_LENGTH for label in labels):
        raise ValueError("it has no valid host")
    return url


def _address(name: str, given: str, example: str) -> str:
    try:
        return base_url(given)
    except ValueError as error:
        raise SettingsError(f"{name}: {shown(given)} cannot be used: {error} (example: {example})") from None


def _read_registry(given: str) -> str:
    try:
        return given if given.lower().startswith(SRV_PREFIXES) else http_url(given)
    except ValueError as error:
        reason = f"{shown(given)} cannot be used: {error} (example: {REGISTRY_URL})"
        raise SettingsError(f"REGISTRY_URL: {reason}") from None


def warn_of_age(answer: HttpResponse) -> None:
    """Warn on stderr when an answer is old, or may lack something; the command prints it anyway."""
    state = answer.headers.get("X-Cache", "fresh").lower()
    if state == "partial":
        print("vertice: partial: the registry does not know everything yet; there may be more", file=sys.stderr)
    elif state != "fresh":
        age = answer.headers.get("Age", "?")
        print(f"vertice: {state}: this is the state as of {age} s ago; the registry cannot be reached", file=sys.stderr)
