"""`GET /openapi.json`: OpenAPI 3.1, made from the table of endpoints and the wire types.

Nothing is written by hand, so the description cannot contradict the code.
"""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import Any, Final

import msgspec

from registry_core.api.auth import API_KEY_HEADER, TOKEN_HEADER
from registry_core.api.endpoints import ENDPOINTS, ERROR, JSON, Endpoint
from registry_core.api.request_limits import may_be_limited
from registry_core.security.rights import Right
from registry_core.security.signatures import SIGNATURE_HEADER

REF: Final = "#/components/schemas/{name}"


@cache
def description(version: str) -> dict[str, Any]:
    """Return the whole description, which is not to be changed: it takes 25 ms, and is made once."""
    kinds = _kinds()
    schemas, components = msgspec.json.schema_components(kinds, ref_template=REF)
    by_kind = [(kind, schema) for kind, schema in zip(kinds, schemas, strict=True)]

    def schema_of(kind: Any) -> dict[str, Any]:
        return next(schema for known, schema in by_kind if known is kind or known == kind)

    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Vértice registry",
            "version": version,
            "description": "Service discovery: register, look up, watch.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": TOKEN_HEADER},
                "apiKey": {"type": "apiKey", "in": "header", "name": API_KEY_HEADER},
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": SIGNATURE_HEADER,
                    "description": "HTTP Message Signatures (RFC 9421), with Signature-Input and Content-Digest",
                },
                "readKey": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _kinds() -> list[Any]:
    found: list[Any] = [ERROR]
    for endpoint in ENDPOINTS:
        parameters = [p.kind for p in (*endpoint.query, *endpoint.headers)]
        for kind in [endpoint.body, *endpoint.answers.values(), *parameters, str]:
            if kind is not None and kind not in found:
                found.append(kind)
    return found


def _operation(endpoint: Endpoint, schema_of: Any) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": schema_of(str)} for name in endpoint.path_parameters
    ]
    parameters += [
        {"name": p.name, "in": place, "required": False, "description": p.meaning, "schema": schema_of(p.kind)}
        for place, some in (("query", endpoint.query), ("header", endpoint.headers))
        for p in some
    ]
    responses: dict[str, Any] = {}
    for status, kind in endpoint.answers.items():
        responses[str(status)] = _response(status, endpoint.media_type, None if kind is None else schema_of(kind))
    credentials = () if endpoint.right is Right.BE_PROBED else (401, 403)
    limited = (429,) if may_be_limited(endpoint) else ()
    # An unknown query parameter is refused everywhere.
    for status in (400, *endpoint.errors, *credentials, *limited):
        responses.setdefault(str(status), _response(status, JSON, schema_of(ERROR)))
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "parameters": parameters,
        "responses": responses,
    }
    if endpoint.body is not None:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": schema_of(endpoint.body)}}}
    if endpoint.right is not Right.BE_PROBED:
        # Without one where reading is open, or the registry asks nobody.
        plain: list[dict[str, list[str]]] = [{"token": []}, {"apiKey": []} if endpoint.writes else {"readKey": []}]
        operation["security"] = [{"signature": []}, *plain, {}]
    return operation


def _response(status: int, media_type: str, schema: dict[str, Any] | None) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if schema is not None:
        answer["content"] = {media_type: {"schema": schema}}
    return answer
