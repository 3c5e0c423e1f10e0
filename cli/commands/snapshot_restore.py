"""Register again what a file of `vertice snapshot save` has and the registry lacks.

The whole file is checked first. Missing instances return as they were, with a fresh lease; instances that are
registered stay as they are, with their leases. A second run changes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cli.client import registry_url, signer_in
from cli.commands import snapshot_file
from cli.commands.restore import GaveUp, Tally, restore
from cli.commands.snapshot_file import BadSnapshotFile, SnapshotFile
from cli.exit_codes import FAILED, OK, USAGE, exit_codes
from cli.options import JSON, STDIN, add_output, add_registry
from cli.parser import file_path
from registry_core.causes import cause_of
from registry_core.domain.restoration import RestoreOutcome
from registry_core.shared_secret import SECRET

EPILOG: Final = f"""examples:
  vertice snapshot restore fleet.snapshot --dry-run
  vertice snapshot restore fleet.snapshot --registry 10.0.0.3:8888

The secret in {SECRET.name} is sent to the registry. An instance whose name or address belongs to another one there is
a conflict: it is listed and not restored.

{
    exit_codes(
        failed="failed: nothing answers at the address, or some were refused or in conflict",
        usage="wrong usage, a wrong setting, or an unusable snapshot",
    )
}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice snapshot restore`."""
    parser.add_argument("file", metavar="FILE", type=file_path, help="the snapshot (`-`: standard input)")
    parser.add_argument("--dry-run", action="store_true", help="change nothing, show what would happen")
    add_output(parser)
    add_registry(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice snapshot restore` and return its exit code."""
    url, signer = registry_url(arguments, environment), signer_in(environment)
    try:
        records = _read(arguments.file).records
    except BadSnapshotFile as error:
        print(f"vertice: {error}", file=sys.stderr)
        return USAGE
    except OSError as error:
        print(f"vertice: {arguments.file}: {cause_of(error)}", file=sys.stderr)
        return USAGE

    told = 0

    def tell(done: int) -> None:
        nonlocal told
        if done > told:
            told = done
            print(f"vertice: {done} of {len(records)}", file=sys.stderr)

    try:
        tally = restore(url, records, signer, dry_run=arguments.dry_run, tell=tell)
    except GaveUp as error:
        print(f"vertice: {error}", file=sys.stderr)
        return FAILED
    if arguments.output == JSON:
        print(json.dumps(_report(tally, len(records), dry_run=arguments.dry_run)))
    else:
        for kind, lines in (("conflict", tally.conflicts), ("refused", tally.refusals)):
            for line in lines:
                print(f"{kind}: {line}")
        print(_summary(tally, len(records), dry_run=arguments.dry_run))
    return FAILED if tally.conflicts or tally.refusals else OK


def _read(file: Path) -> SnapshotFile:
    """Return the content of a file, or of standard input. Raises BadSnapshotFile and OSError."""
    if str(file) != STDIN:
        return snapshot_file.read(file)
    return snapshot_file.decoded("standard input", sys.stdin.buffer.read(snapshot_file.MAX_FILE_BYTES))


def _report(tally: Tally, count: int, *, dry_run: bool) -> dict[str, object]:
    return {
        "instances": count,
        "dry_run": dry_run,
        **{outcome.value: number for outcome, number in tally.outcomes.items()},
        "conflicts": tally.conflicts,
        "refusals": tally.refusals,
    }


def _summary(tally: Tally, count: int, *, dry_run: bool) -> str:
    return (
        f"{'would restore' if dry_run else 'restored'} {tally.outcomes[RestoreOutcome.RESTORED]} of {count}: "
        f"{tally.outcomes[RestoreOutcome.PRESENT]} are registered already, "
        f"{tally.outcomes[RestoreOutcome.NEWER]} have a newer owner there, "
        f"{len(tally.conflicts)} conflict, {len(tally.refusals)} were refused"
    )
