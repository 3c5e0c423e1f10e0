"""Writes numbers, booleans and dates of YAML as Compose passes them to a container.

Pure. Compose reads an unquoted `010` in a map as the number 8, and hands the container `8`.
"""

from __future__ import annotations

import datetime as dt
import decimal
import math
import re
from typing import Final

_BOOLEANS: Final = {
    "true": "true",
    "True": "true",
    "TRUE": "true",
    "false": "false",
    "False": "false",
    "FALSE": "false",
}
_DIGITS: Final = {"0x": 16, "0o": 8, "0b": 2}
_WHOLE: Final = re.compile(r"([-+]?)(0[xX]|0[oO]|0[bB]|0)?([0-9A-Fa-f]+)", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_DATE: Final = re.compile(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})", re.ASCII)
_INT64: Final = range(-(2**63), 2**63)
_UINT64: Final = range(2**64)
_LONGEST: Final = 400
# Where the point of a number may stand, counted from its first digit, if it is to be written without an exponent.
_SMALLEST_POINT: Final = -4
_LARGEST_POINT: Final = 6


def as_passed_on(text: str) -> str:
    """Return an unquoted scalar as the container gets it."""
    if text[:1] not in "0123456789+-.tTfF" or not text or len(text) > _LONGEST:
        return text
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if (date := _DATE.fullmatch(text)) is not None:
        return _date(date) or text
    digits = text.replace("_", "")
    whole = _whole(digits)
    # A zero with a sign is the one whole number that comes out as it was written: `-0`.
    if whole is not None:
        return text if text == "-0" else str(whole)
    return _float(digits) or text if _FLOAT.fullmatch(digits) else text


def _whole(digits: str) -> int | None:
    match = _WHOLE.fullmatch(digits)
    if match is None:
        return None
    base = _DIGITS.get((match[2] or "").lower(), 8 if match[2] else 10)
    try:
        number = int(match[3], base) * (-1 if match[1] == "-" else 1)
    except ValueError:
        return None
    return number if number in _INT64 or (number in _UINT64 and not match[1]) else None


def _float(text: str) -> str | None:
    """Return a number as Go prints it: the shortest digits, with an exponent from a million on."""
    number = float(text)
    if math.isinf(number):
        return None
    sign, digits, exponent = decimal.Decimal(repr(number)).normalize().as_tuple()
    point = len(digits) + int(exponent)
    minus, shown = "-" if sign else "", "".join(map(str, digits))
    if number == 0:
        return f"{minus}0"
    if not _SMALLEST_POINT < point <= _LARGEST_POINT:
        fraction = f".{shown[1:]}" if len(shown) > 1 else ""
        return f"{minus}{shown[0]}{fraction}e{'+' if point > 0 else '-'}{abs(point - 1):02d}"
    if point <= 0:
        return f"{minus}0.{'0' * -point}{shown}"
    shown = shown.ljust(point, "0")
    return f"{minus}{shown[:point]}" + (f".{shown[point:]}" if len(shown) > point else "")


def _date(match: re.Match[str]) -> str | None:
    try:
        day = dt.date(int(match[1]), int(match[2]), int(match[3]))
    except ValueError:
        return None
    return f"{day.isoformat()} 00:00:00 +0000 UTC"
