"""One request of a command to a registry, and its answer as text or JSON: what such commands have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import Any

from cli.client import Unreachable, ask, registry_url, said_by, signer_in
from cli.exit_codes import FAILED, NOT_FOUND, OK
from cli.options import JSON


def tell(
    method: str,
    path: str,
    arguments: argparse.Namespace,
    environment: Mapping[str, str],
    lines: Callable[[Any], list[str]],
    *,
    body: bytes | None = None,
) -> int:
    """Print the registry's answer, and return the exit code. Raises SettingsError.

    `lines` returns the text for people; `body` is JSON.
    """
    url, signer = registry_url(arguments, environment), signer_in(environment)
    headers = {} if body is None else {"Content-Type": "application/json"}
    try:
        with said_by("a registry", url):
            answer = ask(method, url, path, headers, body=body, signer=signer)
            said = answer.json() if answer.status == 200 else None
            if said is None:
                print(f"vertice: {answer.message}", file=sys.stderr)
                return NOT_FOUND if answer.is_not_found else FAILED
            text = answer.text() if arguments.output == JSON else "\n".join(lines(said))
    except Unreachable as error:
        print(f"vertice: {error}", file=sys.stderr)
        return FAILED
    print(text)
    return OK
