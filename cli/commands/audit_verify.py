"""Verify an audit log: that nothing was altered, removed, added in between or put in another order.

It recomputes the tree over all lines and compares it with the newest signed head, and with older heads that were kept
elsewhere: a log that was rewritten together with its heads shows against those. With --proof it verifies a file of
`vertice audit prove`, for which no log is needed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cli.client import Unreachable
from cli.commands.audit_source import (
    AuditSource,
    NoAuditLog,
    add_keys,
    add_source,
    keys_in,
    log_key,
    read_head,
    source_of,
)
from cli.exit_codes import FAILED, OK, exit_codes
from cli.options import JSON, add_output
from cli.parser import CommandParser, WrongUsage, file_path
from cli.terminal import printable
from registry_core.causes import cause_of
from registry_core.errors import SettingsError
from registry_core.security.audit.heads import SignedHead
from registry_core.security.audit.merkle import BadProof
from registry_core.security.audit.notes import VerifierKey
from registry_core.security.audit.proofs import MAX_PROOF_BYTES, BadProofFile, LineProof, parse_proof
from registry_core.security.audit.verification import check_continues, check_lines, check_signature

EPILOG: Final = f"""examples:
  vertice audit verify --registry 10.0.0.2:8888 --trust eu-1a.pub --trust eu-1b.pub
  vertice audit verify /var/lib/vertice/audit --head head-of-january
  vertice audit verify --proof line-17.tlog-proof --trust eu-1a.pub

`vertice audit consistency --update` keeps a head, which belongs elsewhere than the log.

{exit_codes(failed="failed: nothing answers at the address, or something is wrong with the log or the proof")}"""


def add_arguments(parser: CommandParser) -> None:
    """Add the arguments of `vertice audit verify`."""
    add_source(parser)
    add_keys(parser)
    parser.add_argument(
        "--head",
        dest="heads",
        action="append",
        default=[],
        metavar="FILE",
        type=file_path,
        help="an earlier head of this log, which it must continue",
    )
    parser.add_argument("--proof", metavar="FILE", type=file_path, help="verify this proof of a line, and no log")
    add_output(parser)
    parser.checks.append(_proof_alone)


def _proof_alone(arguments: argparse.Namespace) -> None:
    """Raises WrongUsage."""
    if arguments.proof is not None and (arguments.folder or arguments.registry or arguments.heads):
        raise WrongUsage("--proof needs no log: FOLDER, --registry and --head cannot be combined with it")
    if arguments.proof is not None and not arguments.keys:
        raise WrongUsage("--proof needs --trust, the public key of the log")


def run(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice audit verify` and return its exit code. Raises SettingsError for an unusable file."""
    if arguments.proof is not None:
        proof = _read_proof(arguments.proof)
        return _told(arguments, _of_proof(proof, keys_in(arguments)))
    source = source_of(arguments, environment)
    earlier = {str(path): read_head(path) for path in arguments.heads}
    try:
        return _told(arguments, _of_log(source, keys_in(arguments), earlier))
    except (Unreachable, NoAuditLog) as error:
        print(f"vertice: {error}", file=sys.stderr)
        return FAILED


def _of_log(source: AuditSource, keys: Sequence[VerifierKey], earlier: Mapping[str, SignedHead]) -> dict[str, Any]:
    """Return what was found. Raises Unreachable and NoAuditLog."""
    head, countersigned = source.head(), source.countersigned()
    key = log_key(source, head.head.origin, keys)
    faults = list(check_signature(head, key))
    first, frontier = source.start()
    found = check_lines(source.lines(first), first, frontier, head.head, source.stored())
    faults += found.faults
    for name, old in earlier.items():
        faults += [f"{name}: {fault}" for fault in (*check_signature(old, key), *_continues(old, head, source))]
    if countersigned is not None:
        faults += [f"the countersigned head: {fault}" for fault in check_signature(countersigned, key)]
        faults += [f"the countersigned head: {fault}" for fault in _continues(countersigned, head, source)]
    return {
        "log": head.head.origin,
        "source": source.name,
        "first": found.first,
        "lines": head.head.size,
        "after_head": max(0, found.behind - head.head.size),
        "countersigned_lines": 0 if countersigned is None else countersigned.head.size,
        "countersigned_by": _witnesses(countersigned, keys),
        "faults": faults,
    }


def _continues(old: SignedHead, head: SignedHead, source: AuditSource) -> Iterator[str]:
    try:
        yield from check_continues(old, head, source.consistency)
    except NoAuditLog as error:
        yield str(error)


def _of_proof(proof: LineProof, keys: Sequence[VerifierKey]) -> dict[str, Any]:
    head = proof.head
    faults = [f"no --trust is that of {head.head.origin}"]
    for key in keys:
        if key.name == head.head.origin:
            faults = list(check_signature(head, key))
    try:
        proof.check()
    except BadProof as error:
        faults.append(str(error))
    return {
        "log": head.head.origin,
        "index": proof.index,
        "line": proof.line.decode("utf-8", "replace"),
        "lines": head.head.size,
        "countersigned_lines": head.head.size,
        "countersigned_by": _witnesses(head, keys),
        "faults": faults,
    }


def _witnesses(head: SignedHead | None, keys: Sequence[VerifierKey]) -> dict[str, str]:
    if head is None:
        return {}
    others = [key for key in keys if key.name != head.head.origin]
    return {
        name: datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
        for name, at in head.witnesses(others).items()
    }


def _told(arguments: argparse.Namespace, found: dict[str, Any]) -> int:
    if arguments.output == JSON:
        print(json.dumps(found))
    else:
        for line in _texts(found):
            print(printable(line, most=4_000))
    return FAILED if found["faults"] else OK


def _texts(found: dict[str, Any]) -> Iterator[str]:
    yield from (f"WRONG  {fault}" for fault in found["faults"])
    if "line" in found:
        verdict = "is not proven to be in" if found["faults"] else "is in"
        yield f"line {found['index']} {verdict} the log {found['log']} of {found['lines']} lines: {found['line']}"
    elif not found["faults"]:
        kept = f", of which those from {found['first']} on are kept" if found["first"] else ""
        yield f"the {found['lines']} lines of {found['log']} are as they were logged{kept}"
    if found.get("after_head"):
        yield f"the last {found['after_head']} lines are newer than the head"
    for name, at in found["countersigned_by"].items():
        yield f"the first {found['countersigned_lines']} were countersigned by {name} at {at}"


def _read_proof(path: Path) -> LineProof:
    """Raises SettingsError."""
    try:
        with path.open("rb") as file:
            return parse_proof(file.read(MAX_PROOF_BYTES + 1).decode("utf-8", "replace"))
    except OSError as error:
        raise SettingsError(f"{path}: {cause_of(error)}") from None
    except BadProofFile as error:
        raise SettingsError(f"{path}: it is no proof: {error}") from None
