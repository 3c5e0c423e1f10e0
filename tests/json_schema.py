"""Validates values against the part of JSON Schema that msgspec writes; anything else is an error."""

from __future__ import annotations

import re
from typing import Any

_KNOWN = {
    "$ref", "anyOf", "type", "enum", "const", "properties", "required", "items", "prefixItems", "additionalProperties",
    "minItems", "maxItems", "minLength", "maxLength", "pattern", "minimum", "maximum",
    "title", "description", "default", "discriminator", "format",
}  # fmt: skip
_TYPES: dict[str, type | tuple[type, ...]] = {
    "null": type(None),
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "string": str,
    "array": list,
    "object": dict,
}


def problems(value: Any, schema: Any, root: Any, at: str = "$") -> list[str]:
    """Return the errors in `value`; empty when it matches `schema` (within `root`)."""
    unknown = set(schema) - _KNOWN
    if unknown:
        return [f"{at}: the schema uses {sorted(unknown)}, which this validator does not know"]
    if "$ref" in schema:
        target = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return problems(value, target, root, at)
    if "anyOf" in schema:
        tried = [problems(value, option, root, at) for option in schema["anyOf"]]
        return [] if any(not found for found in tried) else [f"{at}: matches no option: {tried}"]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{at}: {value!r} is not one of {schema['enum']}"]
    if "const" in schema and value != schema["const"]:
        return [f"{at}: {value!r} is not {schema['const']!r}"]
    if "type" in schema:
        wanted = _TYPES[schema["type"]]
        is_boolean = isinstance(value, bool)
        if not isinstance(value, wanted) or (is_boolean and schema["type"] != "boolean"):
            return [f"{at}: {value!r} is not of type {schema['type']}"]
    if isinstance(value, dict):
        return _object_problems(value, schema, root, at)
    if isinstance(value, list):
        return _array_problems(value, schema, root, at)
    return _scalar_problems(value, schema, at)


def _scalar_problems(value: Any, schema: Any, at: str) -> list[str]:
    if isinstance(value, str):
        fits = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
        if not fits or not re.search(schema.get("pattern", ""), value):
            return [f"{at}: {value!r} has the wrong length or form"]
    elif isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return [f"{at}: {value!r} is out of bounds"]
    return []


def _object_problems(value: dict[str, Any], schema: Any, root: Any, at: str) -> list[str]:
    found = [f"{at}: {name} is missing" for name in schema.get("required", ()) if name not in value]
    properties = schema.get("properties", {})
    more = schema.get("additionalProperties", True)
    for name, inner in value.items():
        if name in properties:
            found += problems(inner, properties[name], root, f"{at}.{name}")
        elif more is False:
            found.append(f"{at}: {name} is not described")
        elif isinstance(more, dict):
            found += problems(inner, more, root, f"{at}.{name}")
    return found


def _array_problems(value: list[Any], schema: Any, root: Any, at: str) -> list[str]:
    found = []
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        found.append(f"{at}: has {len(value)} items")
    prefix = schema.get("prefixItems", [])
    for number, inner in enumerate(value):
        of = prefix[number] if number < len(prefix) else schema.get("items", {})
        if of is False:
            found.append(f"{at}[{number}] is one item too many")
        else:
            found += problems(inner, of, root, f"{at}[{number}]")
    return found
