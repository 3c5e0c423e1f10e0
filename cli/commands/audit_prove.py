"""Write a proof that a line is in the audit log: a file that anybody with the public key can verify, without the log.

It has the line, the hashes from there to the root, and the signed head (C2SP tlog-proof).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping
from typing import Final

from agent.files import replace_file
from cli.client import Unreachable
from cli.commands.audit_source import AuditSource, NoAuditLog, add_source, source_of
from cli.exit_codes import FAILED, NOT_FOUND, OK, exit_codes
from cli.options import JSON, STDOUT, add_output
from cli.parser import file_path, value
from cli.streams import write_file
from registry_core.causes import cause_of
from registry_core.security.audit.proofs import LineProof, encoded

EPILOG: Final = f"""examples:
  vertice audit prove 17 --to line-17.tlog-proof
  vertice audit prove 17 /var/lib/vertice/audit | ssh auditor 'cat > line-17.tlog-proof'
  vertice audit verify --proof line-17.tlog-proof --trust eu-1a.pub

`vertice audit show` prints the numbers of lines.

{exit_codes(finds=True)}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice audit prove`."""
    parser.add_argument("line", metavar="LINE", type=value(_number, "17"), help="the number of the line, from 0 on")
    add_source(parser)
    parser.add_argument(
        "--to", metavar="FILE", type=file_path, help="the file to write (default, and `-`: standard output)"
    )
    add_output(parser, note="on standard output")


def run(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice audit prove` and return its exit code."""
    source = source_of(arguments, environment)
    try:
        proof = _proof(source, arguments.line)
        if proof is None:
            print(f"vertice: there is no line {arguments.line} in {source.name}, or it is not kept", file=sys.stderr)
            return NOT_FOUND
        if arguments.to is None or str(arguments.to) == STDOUT:
            write_file(_json(proof) if arguments.output == JSON else str(proof))
        else:
            replace_file(arguments.to.resolve(), [str(proof).encode()])
    except (Unreachable, NoAuditLog) as error:
        print(f"vertice: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:
        print(f"vertice: {arguments.to}: {cause_of(error)}", file=sys.stderr)
        return FAILED
    return OK


def _proof(source: AuditSource, number: int) -> LineProof | None:
    """Return the proof of a line under the newest head that has it; a countersigned one is better than a newer one."""
    heads = [head for head in (source.countersigned(), source.head()) if head is not None and number < head.head.size]
    found = next(iter(source.lines(number)), None)
    if not heads or found is None or found.number != number:
        return None
    return LineProof(found.line, number, source.inclusion(number, heads[0].head.size), heads[0])


def _json(proof: LineProof) -> str:
    found = {"index": proof.index, "line": proof.line.decode("utf-8", "replace"), "hashes": encoded(proof.hashes)}
    return f"{json.dumps({**found, 'head': str(proof.head)})}\n"


def _number(given: str) -> int:
    if not re.fullmatch(r"\d{1,15}", given.strip(), re.ASCII):
        raise ValueError("it is no number of a line")
    return int(given)
