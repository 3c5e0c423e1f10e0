"""Reads the arguments of commands with the readers of the settings, so that one value means the same in both."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeVar

from cli.terminal import printable
from registry_core.settings import shown

T = TypeVar("T")


def argument(read: Callable[[str], T], example: str) -> Callable[[str], T]:
    """Return a reader for argparse, of what `read` accepts: its ValueError becomes one line with an example."""

    def read_argument(value: str) -> T:
        try:
            return read(value)
        except ValueError as error:
            reason = printable(f"{shown(value)} cannot be used: {error} (example: {example})")
            raise argparse.ArgumentTypeError(reason) from None

    return read_argument
