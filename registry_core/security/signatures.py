"""Signed requests: what is signed, in which form, and whether a signature is that of a key. Pure, and for both ends.

The form is a strict profile of HTTP Message Signatures (RFC 9421) with the digest of RFC 9530:

- one signature, labelled `vertice`, by HMAC-SHA256 (RFC 9421 section 3.3.3);
- it covers `@method`, `@path` and `@query` always, `content-digest` with every body, and each header of SIGNED_HEADERS
  that the request has;
- its parameters are `created`, `nonce`, `keyid` and `alg`.

`@authority` is not covered: load balancers and several addresses of one registry change it. The path and the query are
covered as they were sent, so a proxy must not rewrite them.

This module knows no clock, no secret but the given one, and remembers nothing: `keyring.py` has the keys, `nonces.py`
what was seen before.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

import msgspec

from registry_core.security.signature_errors import AlteredBody, MalformedSignature
from registry_core.security.signing_keys import MAX_KEY_ID, SigningKey, is_key_id

DIGEST_HEADER: Final = "Content-Digest"
INPUT_HEADER: Final = "Signature-Input"
SIGNATURE_HEADER: Final = "Signature"
LABEL: Final = "vertice"
ALGORITHM: Final = "hmac-sha256"
# Each header that changes what a request means or does, in lower case and in the order in which we sign.
SIGNED_HEADERS: Final = ("x-registry-sequence", "x-registry-check", "x-registry-peer", "x-watch-protocol")
NO_HEADERS: Final[Mapping[str, str]] = {}
# How far the time of a signature may be from the registry's clock, in seconds, either way.
WINDOW_S: Final = 300
MIN_NONCE: Final = 16
MAX_NONCE: Final = 64
# Well above what any sender of ours needs; nothing longer is looked at.
MAX_INPUT: Final = 512
# RFC 2104 section 2, for SHA-256.
_BLOCK_BYTES: Final = 64
_INNER_PAD: Final = 0x36
_OUTER_PAD: Final = 0x5C
_ALWAYS: Final = ("@method", "@path", "@query")
_DIGEST: Final = "content-digest"
_COVERABLE: Final = frozenset({*_ALWAYS, _DIGEST, *SIGNED_HEADERS})
_PARAMETERS: Final = frozenset({"created", "nonce", "keyid", "alg"})
# The canonical form alone (RFC 8941 section 4.1): so the text itself is what was signed.
_INPUT: Final = re.compile(
    LABEL + r'=(\(("[a-z0-9@-]+"(?: "[a-z0-9@-]+")*)\)((?:;[a-z]+=(?:[0-9]{1,12}|"[!#-\[\]-~ ]*"))+))', re.ASCII
)
_PARAMETER: Final = re.compile(r';([a-z]+)=(?:([0-9]+)|"([^"]*)")', re.ASCII)
# As our own senders write the whole header. Any other order is read as well, and costs more.
_OUR_INPUT: Final = re.compile(
    LABEL + rf'=(\(("[a-z0-9@-]+"(?: "[a-z0-9@-]+")*)\);created=([0-9]{{1,12}});nonce="([A-Za-z0-9_-]{{{MIN_NONCE},'
    rf'{MAX_NONCE}}})";keyid="([A-Za-z0-9][A-Za-z0-9:_-]{{0,{MAX_KEY_ID - 1}}})";alg="{ALGORITHM}")',
    re.ASCII,
)
_SIGNATURE: Final = re.compile(LABEL + r"=:([A-Za-z0-9+/]{43}=):", re.ASCII)
_CONTENT_DIGEST: Final = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):", re.ASCII)
_NONCE: Final = re.compile(rf"[A-Za-z0-9_-]{{{MIN_NONCE},{MAX_NONCE}}}", re.ASCII)
_EXAMPLE: Final = (
    'vertice=("@method" "@path" "@query" "content-digest");created=1764000000;nonce="mWbLDNVqKpXeVfIc";'
    'keyid="service:ip-intel";alg="hmac-sha256"'
)


class MacKey:
    """HMAC-SHA256 (RFC 2104) with one secret, whose two hashes of the padded key are made once.

    Each message then takes two copies of those, a third of the time of `hmac.digest`. It shows no secret.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: str) -> None:
        key = secret.encode()
        if len(key) > _BLOCK_BYTES:
            key = hashlib.sha256(key).digest()
        key = key.ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(bytes(octet ^ _INNER_PAD for octet in key))
        self._outer = hashlib.sha256(bytes(octet ^ _OUTER_PAD for octet in key))

    def mac(self, message: bytes) -> bytes:
        """Return the MAC of `message`."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()


class Signature(msgspec.Struct, frozen=True):
    """The signature of a request, read but not verified: everything that it says is a claim until `is_of`."""

    key_id: str
    created: int  # Unix seconds, of the sender
    nonce: str
    base: bytes  # what was signed
    mac: bytes
    digest: bytes | None  # SHA-256 of the body; None: signed as a request without one

    def is_of(self, key: MacKey) -> bool:
        """Return whether the holder of `key` made it. The comparison takes constant time."""
        return hmac.compare_digest(key.mac(self.base), self.mac)

    def require_body(self, body: bytes) -> None:
        """Raise AlteredBody unless `body` is the one that was signed."""
        if self.digest is None:
            if body:
                raise AlteredBody("the body is not covered by the signature", field=DIGEST_HEADER)
            return
        if not hmac.compare_digest(hashlib.sha256(body).digest(), self.digest):
            raise AlteredBody(
                "the body is not the one that was signed: its SHA-256 is not that of Content-Digest",
                field=DIGEST_HEADER,
            )


def signed(
    key: SigningKey,
    method: str,
    target: str,
    *,
    created: int,
    nonce: str,
    headers: Mapping[str, str] = NO_HEADERS,
    body: bytes | None = None,
) -> dict[str, str]:
    """Return the headers that sign a request: to be sent beside its `headers`, of which it covers SIGNED_HEADERS.

    `target` is the path with its query, exactly as it is sent. `created` is Unix time by the registry's clock, in
    seconds. `nonce` has 16 to 64 letters, digits, `-` or `_`, and is new for each request and each attempt. A body,
    even an empty one, is None when none is sent.
    """
    found = {name.lower(): value for name, value in headers.items()}
    covered = [*_ALWAYS]
    added: dict[str, str] = {}
    if body is not None:
        added[DIGEST_HEADER] = found[_DIGEST] = content_digest(body)
        covered.append(_DIGEST)
    covered += [name for name in SIGNED_HEADERS if name in found]
    listed = " ".join(f'"{name}"' for name in covered)
    parameters = f'({listed});created={created};nonce="{nonce}";keyid="{key.id}";alg="{ALGORITHM}"'
    base = _base(method, target, covered, found, parameters)
    mac = hmac.digest(key.secret.encode(), base, "sha256")
    added[INPUT_HEADER] = f"{LABEL}={parameters}"
    added[SIGNATURE_HEADER] = f"{LABEL}=:{base64.b64encode(mac).decode()}:"
    return added


def content_digest(body: bytes) -> str:
    """Return the value of Content-Digest for `body` (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def is_signed(headers: Mapping[str, str]) -> bool:
    """Return whether a request claims to be signed; the names in `headers` are compared as the mapping does it."""
    return INPUT_HEADER in headers or SIGNATURE_HEADER in headers


def read_signature(method: str, target: str, headers: Iterable[tuple[str, str]], *, has_body: bool) -> Signature:
    """Return the signature of a request with these headers, in which a name may occur more than once.

    `target` is the path with its query as it was received. Raises MalformedSignature when it is not of our form, or
    does not cover what it must: a header that counts and is not covered could have been put in by anybody.
    """
    found = _relevant(headers)
    parameters, covered, created, nonce, key_id = _input_in(found.get("signature-input", ""))
    _require_covered(covered, tuple(found), has_body=has_body)
    mac = _SIGNATURE.fullmatch(found.get("signature", ""))
    if mac is None:
        raise MalformedSignature(
            f"this header has one signature, labelled {LABEL}, of 32 octets in base64",
            field=SIGNATURE_HEADER,
            example=f"{LABEL}=:6Y6fs1eRB1xVnQ4nPpE1xVZV0fFBH0KkOg2Nn0wCj8M=:",
        )
    if not target.startswith("/"):
        raise MalformedSignature("a signed request names its path alone, without a host", field="path", example="/live")
    return Signature(
        key_id=key_id,
        created=created,
        nonce=nonce,
        base=_base(method, target, covered, found, parameters),
        mac=_octets(mac[1], SIGNATURE_HEADER),
        digest=_digest_in(found) if _DIGEST in covered else None,
    )


def _base(method: str, target: str, covered: Iterable[str], headers: Mapping[str, str], parameters: str) -> bytes:
    """Return the signature base (RFC 9421 section 2.5)."""
    path, _, query = target.partition("?")
    derived = {"@method": method, "@path": path, "@query": f"?{query}"}
    lines = [f'"{name}": {derived.get(name) or headers[name].strip()}' for name in covered]
    lines.append(f'"@signature-params": {parameters}')
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def _relevant(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the headers that matter here, by their names in lower case. None of them may occur twice."""
    found: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        if lower not in _RELEVANT:
            continue
        if lower in found:
            raise MalformedSignature("a signed request has this header only once", field=name)
        found[lower] = value
    return found


_RELEVANT: Final = frozenset({"signature-input", "signature", _DIGEST, *SIGNED_HEADERS})


@lru_cache(maxsize=64)  # senders use a handful of them
def _components(listed: str) -> tuple[str, ...]:
    """Return the names in a list of components: each at most once, and none that we do not know."""
    covered = tuple(listed.replace('"', "").split(" "))
    if len(set(covered)) < len(covered) or not _COVERABLE.issuperset(covered):
        raise MalformedSignature(
            f"a signature covers each of these at most once, and nothing else: {', '.join(sorted(_COVERABLE))}",
            field=INPUT_HEADER,
            example=_EXAMPLE,
        )
    return covered


@lru_cache(maxsize=256)  # what a signature does not cover is an error, and those are not kept
def _require_covered(covered: tuple[str, ...], headers: tuple[str, ...], *, has_body: bool) -> None:
    """Raise MalformedSignature unless a signature covers what it must; `headers` has those of _RELEVANT alone."""
    needed = [*_ALWAYS, *(name for name in SIGNED_HEADERS if name in headers)]
    if has_body or _DIGEST in headers:
        needed.append(_DIGEST)
    for name in needed:
        if name not in covered:
            raise MalformedSignature(f"the signature does not cover {name!r}", field=INPUT_HEADER, example=_EXAMPLE)
    for name in covered:
        if not name.startswith("@") and name not in headers:
            raise MalformedSignature(f"the signature covers {name!r}, which the request does not have", field=name)


def _input_in(text: str) -> tuple[str, tuple[str, ...], int, str, str]:
    """Return the parameters as they were signed, the components, and `created`, `nonce` and `keyid`."""
    ours = _OUR_INPUT.fullmatch(text) if len(text) <= MAX_INPUT else None
    if ours is not None:
        parameters, listed, created, nonce, key_id = ours.groups()
        return parameters, _components(listed), int(created), nonce, key_id
    match = _INPUT.fullmatch(text) if len(text) <= MAX_INPUT else None
    if match is None:
        raise MalformedSignature(
            "this header does not have the form of a signature of this registry", field=INPUT_HEADER, example=_EXAMPLE
        )
    return match[1], _components(match[2]), *_parameters_in(match[3])


def _parameters_in(text: str) -> tuple[int, str, str]:
    """Return `created`, `nonce` and `keyid`, which stand in any order."""
    found: dict[str, str] = {}
    kinds: dict[str, bool] = {}
    for name, number, word in _PARAMETER.findall(text):
        if name in found or name not in _PARAMETERS:
            raise MalformedSignature(
                "a signature has the parameters created, nonce, keyid and alg, each once, and no others",
                field=INPUT_HEADER,
                example=_EXAMPLE,
            )
        found[name] = number or word
        kinds[name] = bool(number)
    if kinds != {"created": True, "nonce": False, "keyid": False, "alg": False}:
        raise MalformedSignature(
            "a signature has the parameters created (a number), nonce, keyid and alg",
            field=INPUT_HEADER,
            example=_EXAMPLE,
        )
    if found["alg"] != ALGORITHM:
        raise MalformedSignature(f"the algorithm is {ALGORITHM}", field="alg", provided=found["alg"], example=ALGORITHM)
    if not _NONCE.fullmatch(found["nonce"]):
        raise MalformedSignature(
            f"a nonce has {MIN_NONCE} to {MAX_NONCE} letters, digits, - or _", field="nonce", example="mWbLDNVqKpXeVfIc"
        )
    if not is_key_id(found["keyid"]):
        raise MalformedSignature("this is no id of a key", field="keyid", example="service:ip-intel")
    return int(found["created"]), found["nonce"], found["keyid"]


def _digest_in(headers: Mapping[str, str]) -> bytes:
    match = _CONTENT_DIGEST.fullmatch(headers[_DIGEST].strip())
    if match is None:
        raise MalformedSignature(
            "the digest of a signed body is one SHA-256 (RFC 9530)", field=DIGEST_HEADER, example=content_digest(b"{}")
        )
    return _octets(match[1], DIGEST_HEADER)


def _octets(text: str, field: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        raise MalformedSignature("this is not base64", field=field) from None
