"""Decodes the bytes of a request into a claim that the domain can check.

Decoding checks types and refuses unknown fields. This file knows neither HTTP nor the catalogue.
"""

from __future__ import annotations

import re
from typing import Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from registry_core.api.schemas import RegisterBody
from registry_core.causes import cause_of
from registry_core.content_faults import WRONG_WORD, shape_fault
from registry_core.domain import names
from registry_core.domain.records import Protocol, Registration, copied_as, default_instance_id
from registry_core.domain.registration import Rules, check_port
from registry_core.errors import ValidationError

# The operator decides whether ports below 1024 are allowed; here any valid port is.
_ANY_PORT: Final = Rules(min_port=1)

T = TypeVar("T")

_EXAMPLES: Final[dict[str, object]] = {
    "service_name": names.NAME_EXAMPLE,
    "endpoint": "http://10.0.0.7:8034",
    "host": "10.0.0.7",
    "port": 8034,
    "instance_id": "10.0.0.7:8034",
    "addresses": ["10.0.0.7"],
    "health_endpoint": "/health",
    "protocol": "http",
    "version": "1.4.2",
    "weight": 10,
    "tags": ["canary"],
    "metadata": {"team": "osint"},
    "zone": "eu-west-1a",
    "status": "passing",
    "epoch": 1764000000000,
    "registered_at": 1764000000.0,
    "csr": "-----BEGIN CERTIFICATE REQUEST-----...",
    "serial": "0AB1CD2E3F405162738495A6B7C8D9EA",
    "instances": [{"service_name": names.NAME_EXAMPLE, "instance_id": "10.0.0.7:8034"}],
}


_BODY_EXAMPLE: Final = {"service_name": names.NAME_EXAMPLE, "host": "10.0.0.7", "port": 8034}


def decode(body: bytes, kind: type[T], example: object = _BODY_EXAMPLE) -> T:
    """Return the JSON `body` as a `kind`; `example` is shown in errors.

    Raises ValidationError, naming the field (or "body"), when it is not JSON or has another shape.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _field_error(str(error), body, kind) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValidationError(
            cause_of(error).replace("it is", "the body is", 1),
            field="body",
            provided=body[:100].decode("utf-8", "replace"),
            example=example,
        ) from None


def _field_error(text: str, body: bytes, kind: object) -> ValidationError:
    path, message = shape_fault(text)
    field = path or "body"
    top = re.split(r"[.\[]", field, maxsplit=1)[0]
    if message == WRONG_WORD and (words := _words_of(kind, field)):
        message = f"it must be one of {', '.join(words)}"
    if path and message.startswith("it "):
        message = message.replace("it", field, 1)
    return ValidationError(message, field=field, provided=_provided(body, top), example=_EXAMPLES.get(top))


def _words_of(kind: object, field: str) -> tuple[str, ...]:
    """Return the words that `field` of a `kind` may have; none when any text will do."""
    info = msgspec.inspect.type_info(kind)
    if not isinstance(info, msgspec.inspect.StructType):
        return ()
    of = next((one.type for one in info.fields if one.encode_name == field), None)
    for each in of.types if isinstance(of, msgspec.inspect.UnionType) else (of,):
        match each:
            case msgspec.inspect.EnumType(cls=words):
                return tuple(str(word.value) for word in words)
            case msgspec.inspect.LiteralType(values=values):
                return tuple(map(str, values))
            case _:
                pass
    return ()


def _provided(body: bytes, field: str) -> object:
    """Return the start of what the caller sent in the top-level `field`, for the error only."""
    try:
        whole = msgspec.json.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):  # a number out of range, nesting
        return body[:100].decode("utf-8", "replace")
    value = whole.get(field) if isinstance(whole, dict) else whole
    return value if isinstance(value, int | float | bool | None) else str(value)[:100]


def registration_of(body: RegisterBody) -> Registration:
    """Return the claim of a body, with defaults for missing fields.

    Raises ValidationError when neither `endpoint` nor `host` and `port` are given, or when they contradict
    each other.
    """
    host, port, protocol = body.host, body.port, body.protocol
    if body.endpoint is not None:
        endpoint_protocol, endpoint_host, endpoint_port = parse_endpoint(body.endpoint)
        stated = (
            ("host", host, endpoint_host),
            ("port", port, endpoint_port),
            ("protocol", protocol, endpoint_protocol),
        )
        for field, given, found in stated:
            if given is not None and given != found:
                raise ValidationError(
                    f"{field} and endpoint contradict each other; send one of them",
                    field=field,
                    provided=given,
                    example=found,
                )
        host, port, protocol = endpoint_host, endpoint_port, endpoint_protocol
    if host is None or port is None:
        raise ValidationError(
            "a registration says where the service is: host and port, or endpoint",
            field="host" if host is None else "port",
            example=_EXAMPLES["host" if host is None else "port"],
        )
    check_port(port, _ANY_PORT)
    protocol = protocol if protocol is not None else Protocol.HTTP
    instance_id = body.instance_id
    if instance_id is None:
        instance_id = default_instance_id(names.check_host(host), port, protocol)
    return copied_as(
        body,
        Registration,
        host=host,
        port=port,
        instance_id=instance_id,
        protocol=protocol,
    )


def parse_endpoint(endpoint: str) -> tuple[Protocol, str, int]:
    """Return protocol, host and port of a URL such as `http://10.0.0.7:8034`.

    Without a port, http means 80 and https 443. Raises ValidationError for everything else.
    """
    example = _EXAMPLES["endpoint"]

    def wrong(message: str) -> ValidationError:
        return ValidationError(message, field="endpoint", provided=endpoint[:200], example=example)

    try:
        url = urlsplit(endpoint)
        port = url.port
    except ValueError:  # a port above 65535, unclosed brackets
        raise wrong("the endpoint is not a URL: its host or its port cannot be read") from None
    try:
        protocol = Protocol(url.scheme)
    except ValueError:
        raise wrong(f"the endpoint's scheme must be one of {', '.join(Protocol)}") from None
    if not url.hostname:
        raise wrong("the endpoint names no host")
    if url.path not in ("", "/") or url.query or url.fragment or url.username is not None:
        raise wrong("an endpoint has only a scheme, host and port")
    if port is None:
        port = {Protocol.HTTP: 80, Protocol.HTTPS: 443}.get(protocol)
    if port is None:
        raise wrong("the endpoint names no port")
    return protocol, url.hostname, port
