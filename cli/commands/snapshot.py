"""Save all registrations of a registry to a file, or restore them from it.

`save` reads all registrations and writes the file once it is sure that none is missing. `restore` checks
the whole file first. Missing instances return as they were, with a fresh lease; instances that are
registered stay as they are, with their leases. A second run changes nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from cli.client import HttpResponse, Unreachable, add_registry_flag, ask, credentials, registry_url
from cli.commands import snapshot_file
from cli.commands.restore import GaveUp, Tally, restore
from cli.commands.snapshot_file import BadSnapshotFile, SnapshotFileHeader, SnapshotFileRecord
from cli.main import EXIT_CODES, FAILED, OK, USAGE
from registry_core.api.schemas import CatalogView
from registry_core.causes import cause_of
from registry_core.domain.catalog import Catalog, Lived
from registry_core.domain.records import Instance, copied_as
from registry_core.domain.restoration import RestoreOutcome

# A snapshot from an older view of the store is still complete; the command only says how old it is.
OLD_S: Final = 10.0
ANSWER_S: Final = 30.0

EPILOG: Final = f"""examples:
  vertice snapshot save fleet.snapshot --registry http://10.0.0.2:8888
  head -1 fleet.snapshot | jq
  vertice snapshot restore fleet.snapshot --dry-run
  vertice snapshot restore fleet.snapshot --registry http://10.0.0.3:8888

The secret in REGISTRY_SECRET is sent to the registry. An instance whose name or address
belongs to another one there is a conflict: it is listed and not restored.

{
    EXIT_CODES.replace(
        "failed: a port is taken, or nothing answers", "failed: conflicts, nothing saved, or nothing answers"
    )
    .replace("a wrong or unknown setting", "a wrong setting, or an unusable snapshot")
    .replace("  3    no such service" + chr(10), "")
}"""


class Incomplete(Exception):
    """Raised when a registry's answer may be incomplete; its text is one line."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice snapshot`."""
    parser.add_argument("action", choices=("save", "restore"), help="write the file, or restore it")
    parser.add_argument("file", metavar="FILE", type=Path, help="the snapshot")
    parser.add_argument("--dry-run", action="store_true", help="restore: change nothing, show what would happen")
    parser.add_argument("--allow-empty", action="store_true", help="save: write the file even if nothing is registered")
    add_registry_flag(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice snapshot` and return its exit code."""
    url, headers = registry_url(arguments, environment), credentials(environment)
    try:
        if arguments.action == "save":
            return _save(arguments.file, url, headers, may_be_empty=arguments.allow_empty)
        return _restore(arguments.file, url, headers, dry_run=arguments.dry_run)
    except BadSnapshotFile as error:
        print(f"vertice: {error}", file=sys.stderr)
        return USAGE
    except (Unreachable, GaveUp, Incomplete) as error:
        print(f"vertice: {error}", file=sys.stderr)
    except OSError as error:
        print(f"vertice: {arguments.file}: {cause_of(error)}", file=sys.stderr)
    return FAILED


# -- save


def _save(path: Path, url: str, headers: Mapping[str, str], *, may_be_empty: bool) -> int:
    answer = ask("GET", url, "/catalog", headers, timeout_s=ANSWER_S, most_bytes=snapshot_file.MAX_FILE_BYTES)
    catalog = _whole(answer, url)
    if not catalog.instances and not may_be_empty:
        raise Incomplete(f"nothing is registered at {url}; nothing was written (--allow-empty writes the file)")
    header = SnapshotFileHeader(
        count=len(catalog.instances),
        saved_at=datetime.now(UTC).isoformat(timespec="seconds"),
        source=url,
        store_age_s=catalog.store_age_s,
        cursor=catalog.cursor,
        digest=catalog.digest,
    )
    snapshot_file.write(path, header, [copied_as(view, SnapshotFileRecord) for view in catalog.instances])
    if catalog.store_age_s is not None and catalog.store_age_s > OLD_S:
        print(
            f"vertice: the registry cannot reach its store; this is the state as of {catalog.store_age_s:.0f} s ago",
            file=sys.stderr,
        )
    print(f"saved {len(catalog.instances)} instances of {url} to {path}")
    return OK


def _whole(answer: HttpResponse, url: str) -> CatalogView:
    """Return the catalogue in the answer. Raises Incomplete when records may be missing."""
    if answer.status != 200:
        raise Incomplete(f"{answer.message}: nothing was written")
    try:
        catalog = msgspec.json.decode(answer.body, type=CatalogView)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Incomplete(f"{url} answers, but is not a registry: nothing was written") from None
    if catalog.state != "ready":
        raise Incomplete(
            f"the registry at {url} is {catalog.state}: it does not know everything yet; nothing was written"
        )
    # The digest covers everything that a replica holds: a truncated or altered answer has a different one.
    held = Catalog()
    held.replace(Lived(copied_as(view, Instance), view.last_heartbeat) for view in catalog.instances)
    if held.digest != catalog.digest or len(held) != len(catalog.instances):
        raise Incomplete(f"the answer of {url} does not match its digest: nothing was written")
    return catalog


# -- restore


def _restore(path: Path, url: str, headers: Mapping[str, str], *, dry_run: bool) -> int:
    records = snapshot_file.read(path).records

    def tell(done: int) -> None:
        print(f"vertice: {done} of {len(records)}", file=sys.stderr)

    tally = restore(url, records, headers, dry_run=dry_run, tell=tell)
    for kind, lines in (("conflict", tally.conflicts), ("refused", tally.refusals)):
        for line in lines:
            print(f"{kind}: {line}")
    print(_summary(tally, len(records), dry_run=dry_run))
    return FAILED if tally.conflicts or tally.refusals else OK


def _summary(tally: Tally, count: int, *, dry_run: bool) -> str:
    return (
        f"{'would restore' if dry_run else 'restored'} {tally.outcomes[RestoreOutcome.RESTORED]} of {count}: "
        f"{tally.outcomes[RestoreOutcome.PRESENT]} are registered already, "
        f"{tally.outcomes[RestoreOutcome.NEWER]} have a newer owner there, "
        f"{len(tally.conflicts)} conflict, {len(tally.refusals)} were refused"
    )
