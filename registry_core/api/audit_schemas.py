"""The wire types of the audit: pages of lines, proofs, and heads to be countersigned. Hashes are in base64."""

from __future__ import annotations

import msgspec


class AuditEntriesView(msgspec.Struct, kw_only=True):
    """`GET /audit/entries`: lines as they were written; `first` is the number of the first one."""

    first: int
    size: int  # lines that the log has had, in all time
    frontier: list[str]  # the roots of the complete subtrees of all lines before the first, the largest first
    lines: list[str]


class AuditProofView(msgspec.Struct, kw_only=True):
    """`GET /audit/proof`: that a line is in the log (RFC 9162 section 2.1.3)."""

    index: int
    size: int
    hashes: list[str]


class AuditConsistencyView(msgspec.Struct, kw_only=True):
    """`GET /audit/consistency`: that a log continues an earlier one (RFC 9162 section 2.1.4)."""

    first: int
    second: int
    hashes: list[str]


class AuditHeadBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`POST /audit/head`: a head, its log's key, and the proof that it continues the head of `old_size` lines."""

    head: str  # a signed note: C2SP tlog-checkpoint
    key: str  # a verifier key: C2SP signed-note
    old_size: int = 0
    hashes: list[str] = []


class CountersignedView(msgspec.Struct, kw_only=True):
    """The answer to `POST /audit/head`."""

    status: str  # "countersigned" | "proof-needed": from `size` lines on | "own": it is this replica's log
    signature: str = ""  # a line of a signed note: C2SP tlog-cosignature
    key: str = ""  # of the signature
    size: int = 0
