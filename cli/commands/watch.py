"""Print changes as they happen, one per line: + appeared, ~ changed, - gone.

It reads the registry's own stream. When the stream breaks, it reconnects and continues where it was, so that
no change is lost. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import time
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from cli.client import (
    MAX_ANSWER_BYTES,
    CommandRequest,
    HttpResponse,
    Unreachable,
    connect,
    registry_url,
    sent_by,
    service_name,
    signer_in,
)
from cli.commands.changes import Changes
from cli.exit_codes import EXIT_CODES, FAILED, USAGE
from cli.options import JSON, add_output, add_registry
from cli.parser import service
from registry_core.causes import cause_of
from registry_core.domain.backoff import Backoff
from registry_core.security.sending import RequestSigner
from registry_core.watch.limits import MAX_LINE_BYTES, PROTOCOL, PROTOCOL_HEADER, SILENCE_S

RETRY: Final = Backoff(0.5, 5.0)
EPILOG: Final = f"""examples:
  vertice watch
  vertice watch parcel_tracker
  vertice watch -o json | jq 'select(.type == "status_changed")'

-o json prints the lines of the stream: first a "snapshot" of everything (again after a break that could not
be resumed), then "registered", "status_changed", "deregistered" and "expired".

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice watch`."""
    parser.add_argument("name", nargs="?", metavar="NAME", type=service, help="only this service (default: all)")
    add_output(parser)
    add_registry(parser)


class WatchRefused(Exception):
    """Raised when the registry refuses the watch."""

    def __init__(self, answer: HttpResponse) -> None:
        super().__init__(answer.message)
        self.answer = answer


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice watch` until it is interrupted; return an exit code when it cannot start."""
    base_url, signer = registry_url(arguments), signer_in()
    name = service_name(arguments.name or "")
    changes = Changes()
    connected = False
    failures = 0
    while True:
        try:
            for raw in lines(base_url, changes.cursor, name, signer):
                if not connected:
                    connected, failures = True, 0
                show(raw, changes, as_json=arguments.output == JSON)
            problem = "the stream ended"
        except WatchRefused as error:
            if error.answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                print(f"vertice: {error}", file=sys.stderr)
                return USAGE if error.answer.status == HTTPStatus.BAD_REQUEST else FAILED
            problem = str(error)
        except Unreachable as error:
            problem = str(error)
        if not changes.cursor:
            print(f"vertice: {problem}", file=sys.stderr)
            return FAILED
        if connected:
            connected = False
            print(f"vertice: {problem}; trying again", file=sys.stderr, flush=True)
        failures += 1
        time.sleep(RETRY.wait_s(failures))


def lines(
    base_url: str, cursor: str, service: str, signer: RequestSigner, *, once: bool = False
) -> Iterator[dict[str, Any]]:
    """Return the lines of one stream until it ends, with `once` what is new. Raises Unreachable, or WatchRefused."""
    wanted = (("cursor", cursor), ("service", service), ("once", "true" if once else ""))
    query = urlencode({name: value for name, value in wanted if value})
    connection = connect(base_url, SILENCE_S)
    try:
        path = f"{urlsplit(base_url).path}/watch" + (f"?{query}" if query else "")
        streams: list[http.client.HTTPResponse] = []

        def send(request: CommandRequest) -> HttpResponse:
            connection.request(request.method, request.target, headers=dict(request.headers))
            response = connection.getresponse()
            is_stream = response.status == HTTPStatus.OK
            streams[:] = [response]
            return HttpResponse(
                response.status, response.headers, b"" if is_stream else response.read(MAX_ANSWER_BYTES)
            )

        request = CommandRequest(base_url, "GET", path, {PROTOCOL_HEADER: str(PROTOCOL)})
        answer = sent_by(signer, request, send)
        if answer.status != HTTPStatus.OK:
            raise WatchRefused(answer)
        (response,) = streams
        while raw := response.readline(MAX_LINE_BYTES):
            if raw.endswith(b"\n"):
                yield json.loads(raw)
            elif len(raw) < MAX_LINE_BYTES:
                return  # a truncated line: the cursor still points before it
            else:
                _pass_over(response)
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise Unreachable(f"no answer from {base_url}: {cause_of(error)}") from None
    except ValueError:
        raise Unreachable(f"{base_url} answers, but not with a watch stream") from None
    finally:
        connection.close()


def _pass_over(response: http.client.HTTPResponse) -> None:
    """Skip to the end of a line that is too long, and report it."""
    print(f"vertice: a line of more than {MAX_LINE_BYTES} bytes was skipped", file=sys.stderr, flush=True)
    while raw := response.readline(MAX_LINE_BYTES):
        if raw.endswith(b"\n"):
            return


def show(line: dict[str, Any], changes: Changes, *, as_json: bool) -> None:
    """Print the changes in a line of the stream."""
    texts = list(changes.take(line))
    if as_json:
        if line.get("type") not in ("sync", "renewed"):
            print(json.dumps(line), flush=True)
        return
    now = time.strftime("%H:%M:%S")
    for text in texts:
        print(f"{now} {text}", flush=True)
