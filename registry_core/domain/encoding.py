"""The one encoding of an instance as JSON: in a row of the store, in a line of the watch, and under the digest. Pure.

It is made once for each change, and its bytes are put into whatever holds it. Its members are the fields of `Instance`
in their order, and keys of metadata are sorted, so that equal records are equal bytes. Its status, epoch, time
and suspicion may change while the claim of the owner stays the same; a row of the store has them in its line instead.
"""

from __future__ import annotations

from typing import Final

import msgspec

from registry_core.domain.records import Instance, Registration

_ENCODER: Final = msgspec.json.Encoder(order="deterministic")
_FIELDS: Final = msgspec.structs.fields(Instance)
# What a claim has when it is the record of a new instance that passes: in a row, so that equal claims are equal bytes.
_NEW: Final = {f.name: f.default for f in _FIELDS if f.name in ("status", "epoch", "registered_at", "suspect")}
_NEW_CLAIM: Final = {name: value for name, value in _NEW.items() if name in Registration.__struct_fields__}
# The members that only a record has.
_REST: Final = b"," + msgspec.json.encode({n: v for n, v in _NEW.items() if n not in _NEW_CLAIM})[1:]


class _LatestEncoding:
    """The instance that was encoded last, and its bytes. All that need those of one change come one after another."""

    def __init__(self) -> None:
        self.known: tuple[Instance | None, bytes] = (None, b"")


_latest: Final = _LatestEncoding()


def instance_json(instance: Instance) -> bytes:
    """Return an instance as JSON."""
    known, encoded = _latest.known
    if known is not instance:
        encoded = _ENCODER.encode(instance)
        _latest.known = instance, encoded
    return encoded


def claim_json(claim: Registration | Instance) -> bytes:
    """Return what an owner claims, as the JSON of an instance that is new and passes."""
    if isinstance(claim, Instance):
        return _ENCODER.encode(msgspec.structs.replace(claim, **_NEW))
    return _ENCODER.encode(msgspec.structs.replace(claim, **_NEW_CLAIM))[:-1] + _REST
