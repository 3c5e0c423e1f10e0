"""List the services that the agent on this machine knows: one name per line, sorted."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Final

from cli.client import Unreachable, agent_url, get, warn_of_age
from cli.exit_codes import EXIT_CODES, FAILED, OK
from cli.options import JSON, add_agent, add_output

EPILOG: Final = f"""examples:
  vertice services
  vertice services -o json | jq length
  vertice services --agent 127.0.0.1:9880

{EXIT_CODES}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice services`."""
    add_output(parser)
    add_agent(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run `vertice services` and return its exit code."""
    try:
        answer = get(agent_url(arguments), "/services")
        names = answer.json() if answer.status == 200 else None
    except Unreachable as error:
        print(f"vertice: {error}", file=sys.stderr)
        return FAILED
    if not isinstance(names, list):
        print(f"vertice: {answer.message}", file=sys.stderr)
        return FAILED
    warn_of_age(answer)
    if arguments.output == JSON:
        print(json.dumps(names))
    else:
        for name in names:
            print(name)
    return OK
