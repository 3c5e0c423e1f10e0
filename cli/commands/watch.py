"""Print changes as they happen: + appeared, ~ changed, - gone; one line for each.

It reads the registry's own stream. When that breaks it connects again and goes on where it was, so that
no change is left out. It ends by Ctrl-C.
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
    HttpResponse,
    Unreachable,
    add_registry_flag,
    connect,
    reason,
    registry_url,
)
from cli.commands.changes import Changes
from cli.main import EXIT_CODES, FAILED, USAGE

# The registry says something every 5 s: three times nothing, and it is gone.
SILENCE_S: Final = 15.0
RETRY_FIRST_S: Final = 0.5
RETRY_LAST_S: Final = 5.0
MAX_LINE_BYTES: Final = 4 * 1024 * 1024
EPILOG: Final = f"""examples:
  vertice watch
  vertice watch parcel_tracker
  vertice watch --json | jq 'select(.type == "status_changed")'

--json prints the stream's own lines: a "snapshot" of everything first (and again after a break that could
not be resumed), then "registered", "status_changed", "deregistered" and "expired".

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice watch`."""
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="one service only; default: all")
    parser.add_argument("--json", action="store_true", help="print the stream's lines as they are")
    add_registry_flag(parser)


class WatchRefused(Exception):
    """Raised when the registry answers, and the answer is no."""

    def __init__(self, answer: HttpResponse) -> None:
        super().__init__(answer.message)
        self.answer = answer


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice watch` until it is interrupted; return an exit code when it cannot begin."""
    base_url = registry_url(arguments)
    changes = Changes()
    connected = False
    wait_s = RETRY_FIRST_S
    while True:
        try:
            for raw in lines(base_url, changes.cursor, arguments.name):
                if not connected:
                    connected, wait_s = True, RETRY_FIRST_S
                show(raw, changes, as_json=arguments.json)
            problem = "the stream ended"
        except WatchRefused as error:
            if error.answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                print(f"vertice: {error}", file=sys.stderr)
                return USAGE
            problem = str(error)
        except Unreachable as error:
            problem = str(error)
        if not changes.cursor:
            print(f"vertice: {problem}", file=sys.stderr)
            return FAILED
        if connected:
            connected = False
            print(f"vertice: {problem}; trying again", file=sys.stderr, flush=True)
        time.sleep(wait_s)
        wait_s = min(wait_s * 2, RETRY_LAST_S)


def lines(base_url: str, cursor: str, service: str) -> Iterator[dict[str, Any]]:
    """Return the lines of one stream until it ends. Raises Unreachable, or WatchRefused."""
    query = urlencode({name: value for name, value in (("cursor", cursor), ("service", service)) if value})
    connection = connect(base_url, SILENCE_S)
    try:
        connection.request("GET", f"{urlsplit(base_url).path}/watch" + (f"?{query}" if query else ""))
        response = connection.getresponse()
        if response.status != HTTPStatus.OK:
            raise WatchRefused(HttpResponse(response.status, response.headers, response.read(MAX_ANSWER_BYTES)))
        while raw := response.readline(MAX_LINE_BYTES):
            if not raw.endswith(b"\n"):
                return  # cut in the middle: the cursor leads back to before it
            yield json.loads(raw)
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"nobody answers at {base_url}: {reason(error)}") from None
    except ValueError:
        raise Unreachable(f"{base_url} answers something else than a watch stream") from None
    finally:
        connection.close()


def show(line: dict[str, Any], changes: Changes, *, as_json: bool) -> None:
    """Print what a line of the stream changed."""
    texts = list(changes.take(line))
    if as_json:
        if line.get("type") not in ("sync", "renewed"):
            print(json.dumps(line), flush=True)
        return
    now = time.strftime("%H:%M:%S")
    for text in texts:
        print(f"{now} {text}", flush=True)
