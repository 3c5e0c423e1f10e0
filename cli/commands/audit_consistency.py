"""Check that an audit log continues an earlier head of it: nothing that the head covers has changed since.

The lines themselves are not read: it takes a moment, and an earlier head that somebody kept is enough.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from typing import Final

from agent.files import replace_file
from cli.client import Unreachable
from cli.commands.audit_source import NoAuditLog, add_keys, add_source, keys_in, log_key, read_head, source_of
from cli.exit_codes import FAILED, OK, exit_codes
from cli.options import JSON, add_output
from cli.parser import file_path
from cli.terminal import printable
from registry_core.causes import cause_of
from registry_core.security.audit.verification import check_continues, check_signature

EPILOG: Final = f"""examples:
  vertice audit consistency eu-1a.head --update --registry 10.0.0.2:8888 --trust eu-1a.pub
  vertice audit consistency head-of-january /var/lib/vertice/audit --trust eu-1a.pub

{exit_codes(failed="failed: nothing answers at the address, or the log does not continue the head")}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice audit consistency`."""
    parser.add_argument("old", metavar="OLDHEAD", type=file_path, help="a file with an earlier head")
    add_source(parser)
    add_keys(parser)
    parser.add_argument(
        "--update",
        action="store_true",
        help="write the newest head into OLDHEAD, if it continues the one there; a missing file is created",
    )
    add_output(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice audit consistency` and return its exit code. Raises SettingsError for an unusable file."""
    source = source_of(arguments, environment)
    is_first = arguments.update and not arguments.old.exists()
    old = None if is_first else read_head(arguments.old)
    try:
        head = source.head()
        key = log_key(source, head.head.origin, keys_in(arguments))
        faults = [*check_signature(head, key)]
        if old is not None:
            faults += [*check_signature(old, key), *check_continues(old, head, source.consistency)]
        if arguments.update and not faults:
            replace_file(arguments.old.resolve(), [str(head).encode()])
    except (Unreachable, NoAuditLog) as error:
        print(f"vertice: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:
        print(f"vertice: {arguments.old}: {cause_of(error)}", file=sys.stderr)
        return FAILED
    sizes = {"first": old.head.size if old is not None else 0, "second": head.head.size}
    if arguments.output == JSON:
        print(json.dumps({"log": head.head.origin, **sizes, "faults": faults}))
    else:
        for fault in faults:
            print(printable(f"WRONG  {fault}", most=4_000))
        if not faults:
            print(f"{head.head.origin}: the {sizes['second']} lines of now continue the {sizes['first']} of then")
    return FAILED if faults else OK
