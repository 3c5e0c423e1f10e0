"""The rows of the audit in the table of endpoints. It contains no code."""

from __future__ import annotations

from typing import Final

from registry_core.api.audit_schemas import (
    AuditConsistencyView,
    AuditEntriesView,
    AuditHeadBody,
    AuditProofView,
    CountersignedView,
)
from registry_core.api.endpoint import TEXT, Endpoint, Parameter
from registry_core.security.rights import Right

AUDIT_ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/audit/head",
        name="audit_head",
        right=Right.WITNESS,
        summary="The head of this replica's audit log: a signed note (C2SP tlog-checkpoint)",
        query=(Parameter("countersigned", bool, "the newest one that other replicas have signed as well"),),
        answers={200: str},
        errors=(400, 401, 403, 404, 503),
        media_type=TEXT,
    ),
    Endpoint(
        method="POST",
        path="/audit/head",
        name="witness_head",
        right=Right.WITNESS,
        summary="Countersign the head of another replica's audit log; 409 when it contradicts an earlier one",
        body=AuditHeadBody,
        answers={200: CountersignedView},
        errors=(400, 401, 403, 404, 408, 409, 413, 415, 503),
    ),
    Endpoint(
        method="GET",
        path="/audit/entries",
        name="audit_entries",
        right=Right.AUDIT,
        summary="Lines of this replica's audit log, from a number on or from the first that is kept",
        query=(
            Parameter("from", int, "the number of the first line; the log begins with 0"),
            Parameter("count", int, "how many lines at most: 100 if it is missing, and never more than 1,000"),
        ),
        answers={200: AuditEntriesView},
        errors=(400, 401, 403, 404, 503),
    ),
    Endpoint(
        method="GET",
        path="/audit/proof",
        name="audit_proof",
        right=Right.AUDIT,
        summary="The proof that a line is in the audit log",
        query=(
            Parameter("index", int, "the number of the line"),
            Parameter("size", int, "how many lines the head has; the newest if it is missing"),
        ),
        answers={200: AuditProofView},
        errors=(400, 401, 403, 404, 503),
    ),
    Endpoint(
        method="GET",
        path="/audit/consistency",
        name="audit_consistency",
        right=Right.AUDIT,
        summary="The proof that the audit log of one size continues that of another",
        query=(
            Parameter("first", int, "how many lines the earlier head has"),
            Parameter("second", int, "how many the later one has; the newest if it is missing"),
        ),
        answers={200: AuditConsistencyView},
        errors=(400, 401, 403, 404, 503),
    ),
)
