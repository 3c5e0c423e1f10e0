"""Signatures: an independent implementation of RFC 9421 agrees with ours, and no two requests share a base."""

from __future__ import annotations

import datetime as dt
import hmac
import time
from typing import cast

import pytest
from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier, MappingKeyResolver, algorithms
from hypothesis import given
from hypothesis import strategies as st

from registry_core.security.signature_errors import AlteredBody, MalformedSignature
from registry_core.security.signatures import SIGNED_HEADERS, MacKey, content_digest, read_signature, signed
from registry_core.security.signing_keys import SigningKey

KEY = SigningKey("service:ip-intel", "c0ffee" * 10)
KEYS = MappingKeyResolver(public_keys={KEY.id: KEY.secret.encode()}, private_keys={KEY.id: KEY.secret.encode()})
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE"])
_PATH = st.text("abz019-._~!$&'()*+,;=:@", max_size=12)
PATHS = st.lists(st.one_of(_PATH, st.just("%2F"), st.just("%C3%A9")), min_size=1, max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)
QUERIES = st.one_of(st.just(""), st.text("abz019-._~=&/?", max_size=20).map(lambda text: f"?{text}"))
VALUES = st.text('abc019 :/"\\;', min_size=1, max_size=12).map(str.strip).filter(bool)
HEADERS = st.dictionaries(st.sampled_from(SIGNED_HEADERS), VALUES, max_size=4)
BODIES = st.one_of(st.none(), st.binary(max_size=64))
NONCES = st.text("abzABZ019-_", min_size=16, max_size=64)
REQUESTS = st.tuples(METHODS, PATHS, QUERIES, HEADERS, BODIES)
Request = tuple[str, str, str, dict[str, str], bytes | None]


class Message:
    """A request as the other implementation takes it."""

    def __init__(self, method: str, target: str, headers: dict[str, str]) -> None:
        self.method = method
        self.url = f"http://registry:8888{target}"
        self.headers = headers


@given(request=REQUESTS, nonce=NONCES)
def test_another_implementation_verifies_what_we_sign(request: Request, nonce: str) -> None:
    method, path, query, headers, body = request
    target = path + query
    added = signed(KEY, method, target, created=int(time.time()), nonce=nonce, headers=headers, body=body)
    verifier = HTTPMessageVerifier(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=KEYS)
    (result,) = verifier.verify(Message(method, target, {**headers, **added}), max_age=dt.timedelta(minutes=5))
    assert result.label == "vertice"
    assert result.parameters["nonce"] == nonce


@given(request=REQUESTS, nonce=NONCES)
def test_we_verify_what_another_implementation_signs(request: Request, nonce: str) -> None:
    method, path, query, headers, body = request
    target = path + query
    sent = dict(headers)
    covered = ["@method", "@path", "@query", *headers]
    if body is not None:
        sent["Content-Digest"] = content_digest(body)
        covered.append("content-digest")
    message = Message(method, target, sent)
    signer = HTTPMessageSigner(signature_algorithm=algorithms.HMAC_SHA256, key_resolver=KEYS)
    signer.sign(
        message,
        key_id=KEY.id,
        created=dt.datetime.now(tz=dt.UTC),
        nonce=nonce,
        label="vertice",
        covered_component_ids=covered,
        use_existing_digest=body is not None,
    )
    signature = read_signature(method, target, message.headers.items(), has_body=bool(body))
    assert signature.is_of(MacKey(KEY.secret))
    signature.require_body(body or b"")


@given(one=REQUESTS, other=REQUESTS, taken=st.sets(st.integers(0, 4)))
def test_a_signature_is_good_for_one_request_alone(one: Request, other: Request, taken: set[int]) -> None:
    """`taken`: the parts that an attacker takes from another request."""
    method, path, query, headers, body = one
    added = signed(KEY, method, path + query, created=1, nonce="n" * 16, headers=headers, body=body)
    sent = cast("Request", tuple(other[part] if part in taken else one[part] for part in range(5)))
    method, path, query, headers, body = sent
    try:
        signature = read_signature(method, path + query, [*headers.items(), *added.items()], has_body=bool(body))
        signature.require_body(body or b"")
    except (AlteredBody, MalformedSignature):
        is_accepted = False
    else:
        is_accepted = signature.is_of(MacKey(KEY.secret))
    assert is_accepted is (_meaning(one) == _meaning(sent))


@given(texts=st.lists(st.text(max_size=80), min_size=4, max_size=4), has_body=st.booleans())
def test_any_other_text_is_refused(texts: list[str], has_body: bool) -> None:
    target, given_input, given_signature, digest = texts
    headers: list[tuple[str, str]] = [
        ("Signature-Input", given_input),
        ("Signature", given_signature),
        ("Content-Digest", digest),
    ]
    with pytest.raises(MalformedSignature) as refused:
        read_signature("POST", target, headers, has_body=has_body)
    assert refused.value.field


def _meaning(request: Request) -> tuple[object, ...]:
    """Return what a server sees: an empty query is that of a path without one, and an empty body is none."""
    method, path, query, headers, body = request
    return method, path, query.removeprefix("?"), headers, body or b""


@given(st.text(st.characters(codec="utf-8"), max_size=100), st.binary(max_size=200))
def test_a_key_made_ready_gives_the_mac_of_the_standard(secret: str, message: bytes) -> None:
    key = MacKey(secret)
    for _ in range(2):  # it is used many times
        assert key.mac(message) == hmac.digest(secret.encode(), message, "sha256")
