"""The deny list: certificates and services that are refused although their certificates have not ended. Pure.

It is short: a denial lasts until the certificates that it is about have ended by themselves. A part that checks a
certificate asks `DenyList`; stores keep `Denial`s, and `merged` joins what several of them keep.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from registry_core.domain.names import label_of
from registry_core.errors import ValidationError
from registry_core.ports.denials import Denial

MAX_DENIALS: Final = 4096
MAX_REASON_LENGTH: Final = 200
# RFC 5280 section 4.1.2.2: a serial number has at most 20 octets.
_SERIAL: Final = re.compile(r"[0-9a-f]{1,40}", re.ASCII)
_SERIAL_PREFIX: Final = "serial:"
_SPIFFE_PREFIX: Final = "spiffe://"
MAX_SUBJECT_LENGTH: Final = 512


class DenyList:
    """What is denied at present. It changes only as a whole, so a check never sees half of a list."""

    def __init__(self) -> None:
        self._subjects: frozenset[str] = frozenset()
        self._denials: tuple[Denial, ...] = ()
        self.version = 0  # rises when what is denied changes
        self.known = False  # whether the list has been read at all

    def __len__(self) -> int:
        return len(self._subjects)

    @property
    def denials(self) -> tuple[Denial, ...]:
        """The entries that deny something, by subject."""
        return self._denials

    def is_denied(self, serial: int, spiffe_id: str) -> bool:
        """Return whether the certificate with this serial number, of this service, is refused."""
        subjects = self._subjects
        if not subjects:
            return False
        return serial_subject(serial) in subjects or spiffe_subject(spiffe_id) in subjects

    def replace(self, denials: Iterable[Denial], now: float) -> None:
        """Deny what `denials` say at `now` (Unix seconds), and nothing else."""
        valid = tuple(denial for denial in merged((denials,), now) if denial.denied)
        subjects = frozenset(denial.subject for denial in valid)
        self._denials, self.known = valid, True
        if subjects != self._subjects:
            self._subjects = subjects
            self.version += 1


def merged(lists: Iterable[Iterable[Denial]], now: float) -> tuple[Denial, ...]:
    """Return the entries that count, sorted by subject: the newest about each subject, none that has ended.

    No more than MAX_DENIALS, the newest. Withdrawals are among them.
    """
    newest: dict[str, Denial] = {}
    for denials in lists:
        for denial in denials:
            held = newest.get(denial.subject)
            # Of two at the same moment the denial counts, whichever list is read first.
            if held is None or (denial.at, denial.denied) > (held.at, held.denied):
                newest[denial.subject] = denial
    living = [denial for denial in newest.values() if denial.until > now]
    if len(living) > MAX_DENIALS:
        living = sorted(living, key=lambda denial: -denial.at)[:MAX_DENIALS]
    return tuple(sorted(living, key=lambda denial: denial.subject))


def serial_subject(serial: int) -> str:
    """Return the subject for one certificate."""
    return f"{_SERIAL_PREFIX}{serial:x}"


def spiffe_subject(spiffe_id: str) -> str:
    """Return the subject for all certificates of a service: its SPIFFE id, with the name as a DNS label."""
    head, slash, name = spiffe_id.rpartition("/")
    return f"{head}{slash}{label_of(name)}"


def read_serial(text: str) -> int | None:
    """Return the serial number in `text`, hexadecimal as `openssl x509 -serial` prints it; None if it is none.

    Colons and a leading `serial=` or `0x` are ignored.
    """
    digits = text.strip().lower().removeprefix("serial=").removeprefix(_SERIAL_PREFIX).removeprefix("0x")
    digits = digits.replace(":", "")
    return int(digits, 16) if _SERIAL.fullmatch(digits) else None


def check_subject(subject: str, *, field: str = "subject") -> str:
    """Return `subject` in the spelling of the list. Raises ValidationError when nothing can have it."""
    if len(subject) <= MAX_SUBJECT_LENGTH:
        if subject.startswith(_SPIFFE_PREFIX) and subject.isascii() and subject.isprintable() and " " not in subject:
            return spiffe_subject(subject)
        digits = subject.removeprefix(_SERIAL_PREFIX)
        if digits != subject and _SERIAL.fullmatch(digits):
            return serial_subject(int(digits, 16))
    raise ValidationError(
        "a denial is about a SPIFFE id or the serial number of a certificate",
        field=field,
        provided=subject[:100],
        example="spiffe://vertice.internal/service/billing",
    )
