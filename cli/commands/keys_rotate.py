"""Replace the key of a service or role: issue a new one, and let the present one end after a while.

Until then both are valid, so that the holder can be given the new one without a gap.
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from cli.commands.keys import add_days, add_file, add_holder, add_to, hand_over, holder_of, new_key, now, opened, told
from cli.exit_codes import OK, exit_codes
from cli.parser import CommandParser
from registry_core.errors import NotFound
from registry_core.security.issued_keys import ended, issued, valid_of

OVERLAP_DAYS: Final = 7

EPILOG: Final = f"""examples:
  vertice keys rotate --service billing --to billing.key
  vertice keys rotate --role reader --overlap 1 --days 365

{exit_codes(failed="failed: a file could not be written", finds=True)}"""


def add_arguments(parser: CommandParser) -> None:
    """Add the arguments of `vertice keys rotate`."""
    add_holder(parser)
    add_days(parser, "--overlap", f"after how many days the present key ends (default: {OVERLAP_DAYS})", OVERLAP_DAYS)
    add_days(parser, "--days", "how many days the new key is valid (default: without end)", None)
    add_to(parser)
    add_file(parser)


def run(arguments: Namespace, environment: Mapping[str, str] = os.environ) -> int:
    """Run `vertice keys rotate` and return its exit code."""
    with told() as failure:
        role, service = holder_of(arguments)
        file, key, at = opened(arguments, environment), new_key(), now()
        present = valid_of(file.keys, role, service, at)
        if not present:
            raise NotFound("the holder has no valid key to replace; `vertice keys issue` gives it one")
        keys = issued(file.keys, key, role, service, now=at, days=arguments.days)
        keys = ended(keys, present[-1].id, at + timedelta(days=arguments.overlap))
        file.write(keys)
        last = next(one for one in keys if one.id == present[-1].id)
        about = f"issued {key.id} to {last.holder}; {last.id} ends at {last.expires}"
        hand_over(arguments, key, about, holder=last.holder, ends={last.id: str(last.expires)})
    return OK if failure.code is None else failure.code
