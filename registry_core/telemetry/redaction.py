"""Keeps secrets out of log lines, also out of tracebacks and of the lines of libraries.

Two nets: the secrets of this process, which are known word for word, and whatever is written like a credential: the
user of a URL, a header that carries one, `password=`. The second finds those of others, such as the wrong token of a
sender. Each text also has a length that it cannot exceed.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

MASK: Final = "***"
# A shorter word would be masked wherever it happens to stand.
LEAST_SECRET: Final = 6
MAX_KNOWN: Final = 2_000
# Of a text, its beginning and its end: a traceback ends with the error.
MAX_TEXT: Final = 16_384
_HEAD: Final = 4_096
_MAX_DEPTH: Final = 6
_MAX_ITEMS: Final = 200
# The fields of settings that hold secrets.
_FIELDS: Final = frozenset({"secret", "secrets", "shared", "read_keys", "tokens", "password", "headers"})
_HEADERS: Final = r"authorization|proxy-authorization|cookie|set-cookie|x-registry-token|x-registry-api-key|x-api-key"
_WORDS: Final = r"password|passwd|pwd|secret|token|api[_-]?key|sig"
_PATTERNS: Final = (
    # user:password@ in a URL (RFC 3986 section 3.2.1)
    (re.compile(r"""://[^\s/?#"']{1,1024}@"""), f"://{MASK}@"),
    # 'Authorization': 'Bearer x', as a dictionary or a multidict is printed
    (
        re.compile(rf"""(?i)(["'](?:{_HEADERS}|signature)["']\s?[:,]\s?b?["'])[^"'\r\n]{{1,4096}}"""),
        rf"\g<1>{MASK}",
    ),
    # a line of a header
    (re.compile(rf"(?im)^((?:{_HEADERS}|signature):[ \t]*)\S[^\r\n]{{0,4096}}$"), rf"\g<1>{MASK}"),
    # a header within a printed bytes object
    (re.compile(rf"(?i)((?:\\n|\b)(?:{_HEADERS}|signature):[ \t]?)\S{{1,4096}}?(?=\\r|\\n)"), rf"\g<1>{MASK}"),
    (re.compile(r"(?i)\b(bearer|basic) [A-Za-z0-9+/=._~-]{8,4096}"), rf"\g<1> {MASK}"),
    # a signature (RFC 9421 section 4.2)
    (re.compile(r"=:[A-Za-z0-9+/]{20,1024}={0,2}:"), f"=:{MASK}:"),
    (re.compile(rf"""(?i)\b({_WORDS})=[^\s&"',;)]{{1,1024}}"""), rf"\g<1>={MASK}"),
)
# What every pattern needs: most lines have none of it.
_HINTS: Final = re.compile(rf"(?i)://|=:|bearer|basic|{_HEADERS}|signature|(?:{_WORDS})=")


class Redaction:
    """The secrets of one process, and the texts without them."""

    def __init__(self) -> None:
        self._known: dict[str, None] = {}  # the newest last
        self._pattern: re.Pattern[str] | None = None
        self._adding = threading.Lock()

    def hide(self, secrets: Iterable[str]) -> None:
        """Never show these again. Beyond MAX_KNOWN, those that were given first may be."""
        spelt = {form for one in secrets for form in (one, quote(one, safe="")) if len(one) >= LEAST_SECRET}
        with self._adding:
            if spelt <= self._known.keys():
                return
            for one in sorted(spelt):
                self._known.pop(one, None)
                self._known[one] = None
            while len(self._known) > MAX_KNOWN:
                del self._known[next(iter(self._known))]
            longest_first = sorted(self._known, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def text(self, text: str) -> str:
        """Return `text` without secrets, and no longer than MAX_TEXT."""
        if self._pattern is not None:
            text = self._pattern.sub(MASK, text)
        if len(text) > MAX_TEXT:
            left_out = len(text) - MAX_TEXT
            text = f"{text[:_HEAD]} ... {left_out} characters left out ... {text[_HEAD - MAX_TEXT :]}"
        if _HINTS.search(text) is not None:
            for pattern, instead in _PATTERNS:
                text = pattern.sub(instead, text)
        return text

    def value(self, value: Any, depth: int = 0) -> Any:
        """Return `value` as what JSON knows, without secrets. What it does not know becomes text."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            return self.text(value)
        if depth >= _MAX_DEPTH:
            return "..."
        if isinstance(value, Mapping):
            items = list(value.items())[:_MAX_ITEMS]
            return {self.text(str(key)): self.value(item, depth + 1) for key, item in items}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item, depth + 1) for item in list(value)[:_MAX_ITEMS]]
        if isinstance(value, msgspec.Struct):
            return self.value(msgspec.structs.asdict(value), depth)
        if isinstance(value, bytes | bytearray):
            return self.text(bytes(value).decode("utf-8", "backslashreplace"))
        try:
            return self.text(str(value))
        except Exception:  # noqa: BLE001 - a foreign object: no line is lost because one value cannot be shown
            return f"<{type(value).__name__}>"


def secrets_in(value: Any) -> Iterator[str]:
    """Return the secrets that a structure of settings holds, in the fields whose names say so."""
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _texts(getattr(value, name)) if name in _FIELDS else secrets_in(getattr(value, name))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from secrets_in(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from secrets_in(item)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield str(value)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _texts(item)
    else:
        yield from secrets_in(value)
