"""An instance's version and metadata as strings of TXT records: `key=value` (RFC 1464)."""

from __future__ import annotations

from typing import Final

from dns import record_data
from registry_core.domain.records import Instance

_MAX_TEXTS: Final = 32


def data_of(instance: Instance) -> bytes:
    """Return the data of the one TXT record that describes an instance to DNS-SD (RFC 6763 section 6)."""
    return record_data.text_data(strings_of(instance))


def strings_of(instance: Instance) -> list[bytes]:
    """Return an instance's version, then its metadata, as RFC 1464 strings, key=value.

    Left out: values that are not scalars, strings that are too long, and everything after the first 32.
    """
    plain = {key: value for key, value in instance.metadata.items() if key and isinstance(value, str | int | float)}
    if instance.version:
        plain["version"] = instance.version
    ordered = sorted(plain, key=lambda key: (key != "version", key))
    strings = [_quoted(key) + b"=" + _value(plain[key]) for key in ordered]
    return [text for text in strings if len(text) <= 255][:_MAX_TEXTS]


def _quoted(key: str) -> bytes:
    """Return a key with the special characters of RFC 1464 section 2 quoted."""
    head = len(key) - len(key.lstrip(" \t"))
    tail = len(key.rstrip(" \t"))
    quoted = "".join(f"`{c}" if c in "`=" or not head <= at < tail else c for at, c in enumerate(key))
    return quoted.encode("utf-8", "replace")


def _value(value: str | float) -> bytes:
    if isinstance(value, bool):
        return b"true" if value else b"false"  # as in the JSON
    return str(value).encode("utf-8", "replace")
