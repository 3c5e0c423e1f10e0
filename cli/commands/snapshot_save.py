"""Save all registrations of a registry to a file.

The file is written once it is sure that none is missing. `vertice snapshot restore` registers them again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec

from cli.client import HttpResponse, Unreachable, ask, registry_url, signer_in
from cli.commands import snapshot_file
from cli.commands.snapshot_file import SnapshotFileHeader, SnapshotFileRecord
from cli.exit_codes import FAILED, OK, exit_codes
from cli.options import JSON, STDOUT, add_output, add_registry
from cli.parser import file_path
from cli.plurals import counted
from registry_core.api.schemas import CatalogView
from registry_core.causes import cause_of
from registry_core.domain.catalog import Catalog, Lived
from registry_core.domain.records import Instance, copied_as
from registry_core.security.sending import RequestSigner
from registry_core.shared_secret import SECRET

# A snapshot from an older view of the store is still complete; the command only says how old it is.
OLD_S: Final = 10.0
ANSWER_S: Final = 30.0

EPILOG: Final = f"""examples:
  vertice snapshot save fleet.snapshot --registry 10.0.0.2:8888
  head -1 fleet.snapshot | jq
  vertice snapshot save - | gzip > fleet.snapshot.gz

The secret in {SECRET.name} is sent to the registry.

{exit_codes(failed="failed: nothing answers at the address, or something may be missing; nothing was written")}"""


class Incomplete(Exception):
    """Raised when a registry's answer may be incomplete; its text is one line."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `vertice snapshot save`."""
    parser.add_argument("file", metavar="FILE", type=file_path, help="the file to write (`-`: standard output)")
    parser.add_argument("--allow-empty", action="store_true", help="write the file even if nothing is registered")
    add_output(parser)
    add_registry(parser)


def run(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice snapshot save` and return its exit code."""
    url, signer = registry_url(arguments, environment), signer_in(environment)
    try:
        catalog = _catalog(url, signer, may_be_empty=arguments.allow_empty)
        return _write(arguments, catalog, url)
    except (Unreachable, Incomplete) as error:
        print(f"vertice: {error}", file=sys.stderr)
    except OSError as error:
        print(f"vertice: {arguments.file}: {cause_of(error)}", file=sys.stderr)
    return FAILED


def _catalog(url: str, signer: RequestSigner, *, may_be_empty: bool) -> CatalogView:
    """Return all registrations. Raises Unreachable, and Incomplete when some may be missing."""
    answer = ask("GET", url, "/catalog", signer=signer, timeout_s=ANSWER_S, most_bytes=snapshot_file.MAX_FILE_BYTES)
    catalog = _whole(answer, url)
    if not catalog.instances and not may_be_empty:
        raise Incomplete(f"nothing is registered at {url}; nothing was written (--allow-empty writes the file)")
    return catalog


def _write(arguments: argparse.Namespace, catalog: CatalogView, url: str) -> int:
    """Write the file, and tell so where the snapshot itself does not go. Raises OSError."""
    header = SnapshotFileHeader(
        count=len(catalog.instances),
        saved_at=datetime.now(UTC).isoformat(timespec="seconds"),
        source=url,
        store_age_s=catalog.store_age_s,
        cursor=catalog.cursor,
        digest=catalog.digest,
    )
    records = [copied_as(view, SnapshotFileRecord) for view in catalog.instances]
    to_stdout = str(arguments.file) == STDOUT
    if to_stdout:
        sys.stdout.buffer.writelines(snapshot_file.encoded(header, records))
    else:
        snapshot_file.write(arguments.file, header, records)
    if catalog.store_age_s is not None and catalog.store_age_s > OLD_S:
        print(
            f"vertice: the registry cannot reach its store; this is the state as of {catalog.store_age_s:.0f} s ago",
            file=sys.stderr,
        )
    file = None if to_stdout else str(arguments.file)
    if arguments.output == JSON:
        said = json.dumps({"instances": len(records), "registry": url, "file": file})
    else:
        said = f"saved {counted(len(records), 'instance')} of {url} to {file or 'standard output'}"
    print(said, file=sys.stderr if to_stdout else sys.stdout)
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
