r"""Body patterns: a subset of regular expressions that is matched in linear time, whatever the body holds.

Python's `re` backtracks: `(a+)+$` over thirty letters keeps it busy for minutes, with the event loop
waiting. So this one follows all ways through the pattern at once (Glushkov 1961, Thompson 1968), with
the sets of places that were reached before remembered (as RE2 does).

There are literals, `.`, `[...]`, `\d \w \s` and their opposites (ASCII), `( )`, `|`, `* + ? {m,n}`, `^` at
the very beginning, `$` at the very end, and `(?i)` in front of it all. What needs backtracking, such as
`\1` and `(?=...)`, is refused.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Collection
from typing import Final, NamedTuple, TypeAlias

MAX_PATTERN: Final = 256
MAX_PLACES: Final = 256
MAX_PARTS: Final = 4 * MAX_PLACES  # groups too, of which an empty one has no place
MAX_REMEMBERED: Final = 4096

# Asked with a character, and where case makes no difference with its other forms too.
_Accepts: TypeAlias = Callable[[Collection[str]], bool]

_WORD: Final = frozenset(string.ascii_letters + string.digits + "_")
_CLASSES: Final = {"d": frozenset(string.digits), "w": _WORD, "s": frozenset(" \t\n\r\f\v")}
_CONTROLS: Final = {"n": "\n", "r": "\r", "t": "\t"}
_COUNT: Final = re.compile(r"\{(\d{1,3})(,(\d{1,3})?)?\}", re.ASCII)
_GROUPS_ONLY: Final = "there are only the groups (...) and (?:...)"


class _Part(NamedTuple):
    """A part of a pattern: whether it may be empty, and where it can begin and end (bits for places)."""

    empty: bool
    first: int
    last: int


_NOTHING: Final = _Part(empty=True, first=0, last=0)


class _Parser:
    """From the text to places: for each, what it accepts, and which can come next."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.parts = 0
        self.accepts: list[_Accepts] = []
        self.follow: list[int] = []

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def alternatives(self) -> _Part:
        part = self._sequence()
        while self._peek() == "|":
            self.at += 1
            other = self._sequence()
            part = _Part(part.empty or other.empty, part.first | other.first, part.last | other.last)
        return part

    def _sequence(self) -> _Part:
        part = _NOTHING
        while self._peek() not in ("", "|", ")"):
            part = self._joined(part, self._repeated())
        return part

    def _joined(self, a: _Part, b: _Part) -> _Part:
        self._follows(a.last, b.first)
        return _Part(a.empty and b.empty, a.first | (b.first if a.empty else 0), b.last | (a.last if b.empty else 0))

    def _follows(self, places: int, what: int) -> None:
        for place in _bits(places):
            self.follow[place] |= what

    def _repeated(self) -> _Part:
        began = self.at
        part = self._atom()
        ended = self.at
        sign = self._peek()
        counted = _COUNT.match(self.text, self.at) if sign == "{" else None
        if counted is not None:
            self.at = counted.end()
            low = int(counted[1])
            high = low if counted[2] is None else None if counted[3] is None else int(counted[3])
            part = self._counted(part, began, ended, low, high)
        elif sign in ("*", "+", "?"):
            self.at += 1
            if sign != "?":
                self._follows(part.last, part.first)
            part = _Part(part.empty or sign != "+", part.first, part.last)
        else:
            return part
        if self._peek() == "?":  # which of several matches is meant makes no difference here
            self.at += 1
        if self._peek() in ("*", "+", "?") or _COUNT.match(self.text, self.at):
            raise ValueError(f"two repetitions stand side by side at character {self.at + 1}")
        return part

    def _counted(self, part: _Part, began: int, ended: int, low: int, high: int | None) -> _Part:
        """Return `part` as often as that: a copy for each time, each parsed anew."""
        if high is not None and high < low:
            raise ValueError(f"{{{low},{high}}} counts backwards")
        after = self.at
        whole = _NOTHING
        for number in range(max(low, 1) if high is None else high):
            if number > 0:
                self.at = began
                part = self._atom()
                assert self.at == ended  # the same text gives the same part
            if high is None and number >= low - 1:
                self._follows(part.last, part.first)
            whole = self._joined(whole, _Part(part.empty or number >= low, part.first, part.last))
        self.at = after
        return whole

    def _atom(self) -> _Part:
        self.parts += 1
        if self.parts > MAX_PARTS:
            raise ValueError("it has too many repetitions")
        character = self._peek()
        self.at += 1
        match character:
            case "(":
                if self._peek() == "?":
                    if self.text[self.at : self.at + 2] != "?:":
                        raise ValueError(_GROUPS_ONLY)
                    self.at += 2
                part = self.alternatives()
                if self._peek() != ")":
                    raise ValueError("a group is not closed")
                self.at += 1
                return part
            case "[":
                return self._place(self._set())
            case ".":
                return self._place(lambda forms: "\n" not in forms)
            case "\\":
                return self._place(self._escaped().has)
            case "*" | "+" | "?":
                raise ValueError(f"there is nothing to repeat at character {self.at}")
            case "^" | "$":
                raise ValueError("^ stands at the very beginning and $ at the very end only")
            case "{" if _COUNT.match(self.text, self.at - 1):
                raise ValueError(f"there is nothing to repeat at character {self.at}")
            case _:
                return self._place(_Characters(frozenset(character)).has)

    def _escaped(self) -> _Characters:
        letter = self._peek()
        self.at += 1
        if letter.lower() in _CLASSES:
            return _Characters(_CLASSES[letter.lower()], negated=letter.isupper())
        if letter in _CONTROLS:
            return _Characters(frozenset(_CONTROLS[letter]))
        if not letter or letter.isalnum():
            raise ValueError(f"\\{letter} is not known here")
        return _Characters(frozenset(letter))

    def _set(self) -> _Accepts:
        negated = self._peek() == "^"
        self.at += negated
        parts: list[_Characters] = []
        began = self.at
        while (character := self._peek()) != "]" or self.at == began:
            if not character:
                raise ValueError("a set of characters is not closed")
            self.at += 1
            low = self._escaped() if character == "\\" else _Characters(frozenset(character))
            if self._peek() == "-" and self.text[self.at + 1 : self.at + 2] not in ("]", ""):
                self.at += 1
                self.at += 1
                end = self.text[self.at - 1]
                high = self._escaped() if end == "\\" else _Characters(frozenset(end))
                low = _range(low, high)
            parts.append(low)
        self.at += 1
        return lambda forms: any(part.has(forms) for part in parts) is not negated

    def _place(self, accepts: _Accepts) -> _Part:
        if len(self.accepts) >= MAX_PLACES:
            raise ValueError(f"with its repetitions it has more than {MAX_PLACES} characters")
        self.accepts.append(accepts)
        self.follow.append(0)
        bit = 1 << (len(self.accepts) - 1)
        return _Part(empty=False, first=bit, last=bit)


class _Characters(NamedTuple):
    """Some characters, or all others."""

    these: frozenset[str]
    negated: bool = False

    def has(self, forms: Collection[str]) -> bool:
        return any(form in self.these for form in forms) is not self.negated


def _range(low: _Characters, high: _Characters) -> _Characters:
    if low.negated or high.negated or len(low.these) != 1 or len(high.these) != 1:
        raise ValueError("a range goes from one character to another")
    first, last = ord(min(low.these)), ord(min(high.these))
    if first > last:
        raise ValueError("a range goes from the lower character to the higher")
    if last > 127:
        raise ValueError("a range is of ASCII characters")
    return _Characters(frozenset(map(chr, range(first, last + 1))))


def _bits(places: int) -> list[int]:
    found = []
    while places:
        low = places & -places
        found.append(low.bit_length() - 1)
        places ^= low
    return found


class Pattern:
    """A pattern that was understood. Raises ValueError, which says why, for one that is not."""

    def __init__(self, text: str) -> None:
        if not text or len(text) > MAX_PATTERN:
            raise ValueError(f"a pattern has from 1 to {MAX_PATTERN} characters")
        self.any_case = text.startswith("(?i)")
        text = text.removeprefix("(?i)")
        self.at_start = text.startswith("^")
        text = text.removeprefix("^")
        # A `$` after an odd number of backslashes is a dollar sign.
        self.at_end = text.endswith("$") and (len(text) - len(text[:-1].rstrip("\\"))) % 2 == 1
        parser = _Parser(text[:-1] if self.at_end else text)
        part = parser.alternatives()
        if parser.at < len(parser.text):
            raise ValueError("a group is closed that was not opened")
        if (self.at_start or self.at_end) and _is_split(parser.text):
            raise ValueError("with ^ or $, put what stands around | into a group: ^(a|b)$")
        self.empty, self.first, self.last = part
        self._accepts = parser.accepts
        self._follow = parser.follow
        self._masks: dict[str, int] = {}
        self._next: dict[tuple[int, str], int] = {}

    def step(self, places: int, character: str) -> int:
        """Return the places that can be reached from `places` (those that were just passed) by one character."""
        known = self._next.get((places, character))
        if known is not None:
            return known
        if len(self._next) >= MAX_REMEMBERED:
            self._next.clear()
        reached = 0 if self.at_start else self.first
        for place in _bits(places):
            reached |= self._follow[place]
        reached &= self.mask(character)
        self._next[places, character] = reached
        return reached

    def mask(self, character: str) -> int:
        """Return the places that accept a character."""
        mask = self._masks.get(character)
        if mask is None:
            if len(self._masks) >= MAX_REMEMBERED:
                self._masks.clear()
            forms = {character, character.lower(), character.upper()} if self.any_case else {character}
            mask = sum(1 << n for n, accepts in enumerate(self._accepts) if accepts(forms))
            self._masks[character] = mask
        return mask

    def is_in(self, text: str) -> bool:
        """Return whether `text` holds it."""
        search = Search(self)
        search.feed(text)
        return search.end()


def _is_split(text: str) -> bool:
    """Return whether there is a `|` outside of every group."""
    bare = re.sub(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", "", text, flags=re.DOTALL)
    depth = 0
    for character in bare:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "|" and depth == 0:
            return True
    return False


class Search:
    """One search, which takes its text piece by piece, so that others have their turns in between."""

    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        self._places = 0
        self._begun = False
        self._here = pattern.empty  # whether a match ends at this place
        self._before = False  # and whether one ended before the newline that was just read
        self._found = pattern.empty and not pattern.at_end

    def feed(self, text: str) -> bool:
        """Take the next piece; return whether it is clear already that the pattern is there."""
        pattern = self._pattern
        for character in text:
            if self._found:
                return True
            reached = pattern.step(self._places, character)
            if not self._begun:
                self._begun = True
                if pattern.at_start:
                    reached = pattern.first & pattern.mask(character)
            self._places = reached
            self._before = self._here and character == "\n"
            # An empty match is anywhere, but with ^ only at the beginning.
            self._here = bool(reached & pattern.last) or (pattern.empty and not pattern.at_start)
            self._found = self._here and not pattern.at_end
        return self._found

    def end(self) -> bool:
        """Return whether the pattern is there, now that the text has ended; `$` bears one newline after it."""
        return self._found or (self._pattern.at_end and (self._here or self._before))
