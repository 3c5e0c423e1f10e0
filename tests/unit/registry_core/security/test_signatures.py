"""A signature covers all that counts: what is altered, added, left out or doubled is refused, each with its reason."""

from __future__ import annotations

import re

import pytest

from registry_core.api.peers import PEER_HEADER
from registry_core.api.schemas import CHECK_HEADER, SEQUENCE_HEADER
from registry_core.security.signature_errors import AlteredBody, MalformedSignature
from registry_core.security.signatures import (
    SIGNED_HEADERS,
    MacKey,
    Signature,
    content_digest,
    is_signed,
    read_signature,
    signed,
)
from registry_core.security.signing_keys import service_key
from registry_core.watch.limits import PROTOCOL_HEADER

KEY = service_key("ip-intel", "a-long-random-word")
NOW = 1_764_000_000
NONCE = "mWbLDNVqKpXeVfIc"
BODY = b'{"service_name":"ip-intel"}'
SEQUENCE = {"X-Registry-Sequence": "7"}


def headers_of(
    method: str = "POST", target: str = "/register", body: bytes | None = BODY, **more: str
) -> dict[str, str]:
    beside = {**SEQUENCE, **more}
    return {**beside, **signed(KEY, method, target, created=NOW, nonce=NONCE, headers=beside, body=body)}


def read(
    headers: dict[str, str], method: str = "POST", target: str = "/register", *, has_body: bool = True
) -> Signature:
    return read_signature(method, target, headers.items(), has_body=has_body)


def test_a_signed_request_is_read_and_is_of_its_key() -> None:
    signature = read(headers_of())
    assert (signature.key_id, signature.created, signature.nonce) == ("service:ip-intel", NOW, NONCE)
    assert signature.is_of(MacKey(KEY.secret))
    assert not signature.is_of(MacKey(f"{KEY.secret}x"))
    signature.require_body(BODY)


def test_names_of_headers_count_in_any_case() -> None:
    headers = {name.upper(): value for name, value in headers_of().items()}
    assert read(headers).is_of(MacKey(KEY.secret))


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("PUT", "/register"),
        ("post", "/register"),
        ("POST", "/restore"),
        ("POST", "/register/"),
        ("POST", "//register"),
        ("POST", "/register?"),
        ("POST", "/register?all=true"),
        ("POST", "/%72egister"),
    ],
)
def test_another_method_path_or_query_was_not_signed(method: str, target: str) -> None:
    signature = read(headers_of(), method, target)
    # An empty query is that of a path without one (RFC 9421 section 2.2.7).
    assert signature.is_of(MacKey(KEY.secret)) is (target == "/register?")


def test_a_question_mark_in_a_path_does_not_move_between_path_and_query() -> None:
    assert not read(headers_of(target="/a?b?c"), target="/a%3Fb?c").is_of(MacKey(KEY.secret))


@pytest.mark.parametrize("body", [b"", BODY + b" ", BODY[:-1]])
def test_another_body_was_not_signed(body: bytes) -> None:
    with pytest.raises(AlteredBody, match="not the one that was signed"):
        read(headers_of()).require_body(body)


def test_a_body_is_not_put_into_a_request_that_was_signed_without() -> None:
    headers = headers_of(body=None)
    with pytest.raises(MalformedSignature, match="does not cover 'content-digest'"):
        read(headers)
    with pytest.raises(MalformedSignature, match="does not cover 'content-digest'"):
        read({**headers, "Content-Digest": content_digest(BODY)})
    signature = read(headers, has_body=False)
    signature.require_body(b"")
    with pytest.raises(AlteredBody, match="not covered"):
        signature.require_body(BODY)


def test_a_digest_is_covered_even_where_there_is_no_body() -> None:
    """What stands behind the registry, and reads the digest, may believe it."""
    with pytest.raises(MalformedSignature, match="does not cover 'content-digest'"):
        read({**headers_of(body=None), "Content-Digest": content_digest(b"")}, has_body=False)


def test_a_digest_of_another_body_was_not_signed() -> None:
    assert not read({**headers_of(), "Content-Digest": content_digest(b"{}")}).is_of(MacKey(KEY.secret))


def test_a_header_that_counts_is_not_altered_added_or_removed() -> None:
    assert not read({**headers_of(), "X-Registry-Sequence": "8"}).is_of(MacKey(KEY.secret))
    with pytest.raises(MalformedSignature, match="does not cover 'x-registry-check'"):
        read({**headers_of(), "X-Registry-Check": "passing"})
    with pytest.raises(MalformedSignature, match="covers 'x-registry-sequence', which the request does not have"):
        read({name: value for name, value in headers_of().items() if name not in SEQUENCE})


@pytest.mark.parametrize("name", ["Signature-Input", "Signature", "Content-Digest", "X-Registry-Sequence"])
def test_no_header_of_a_signature_occurs_twice(name: str) -> None:
    headers = headers_of()
    twice = [*headers.items(), (name.lower(), headers[name])]
    with pytest.raises(MalformedSignature, match="only once") as refused:
        read_signature("POST", "/register", twice, has_body=True)
    assert refused.value.field == name.lower()


@pytest.mark.parametrize(
    ("pattern", "instead", "message"),
    [
        (r"vertice=", "sig1=", "form of a signature"),
        (r"$", ', other=("@method");created=1', "form of a signature"),
        (r'"@path" ', "", "does not cover '@path'"),
        (r'"@path"', '"@path" "@path"', "at most once"),
        (r'"@path"', '"@path" "@authority"', "nothing else"),
        (r'"@path"', '"@path";req', "form of a signature"),
        (r'"@path"', '"@Path"', "form of a signature"),
        (r'"@path" ', '"@path"  ', "form of a signature"),
        (r";created=\d+", "", "created"),
        (r";created=\d+", ";created=17640000000000", "form of a signature"),
        (r";created=\d+", ";created=-5", "form of a signature"),
        (r";created=(\d+)", r';created="\1"', "a number"),
        (r";created=(\d+)", r";created=\1;created=\1", "each once"),
        (r";nonce=\"\w+\"", "", "nonce"),
        (r";nonce=\"\w+\"", ';nonce="short"', "16 to 64"),
        (r";nonce=\"\w+\"", f';nonce="{"n" * 65}"', "16 to 64"),
        (r";nonce=\"\w+\"", ';nonce="mWbLDNVqKpXe VfIc"', "16 to 64"),
        (r";keyid=\"[^\"]+\"", "", "keyid"),
        (r";keyid=\"[^\"]+\"", ';keyid="-"', "no id of a key"),
        (r"hmac-sha256", "rsa-v1_5-sha256", "algorithm is hmac-sha256"),
        (r";alg=\"[^\"]+\"", "", "alg"),
        (r"$", ";expires=1764000009", "no others"),
        (r"$", " ", "form of a signature"),
        (r"$", f';tag="{"x" * 600}"', "form of a signature"),
    ],
)
def test_a_signature_of_another_form_is_refused(pattern: str, instead: str, message: str) -> None:
    headers = headers_of()
    headers["Signature-Input"] = re.sub(pattern, instead, headers["Signature-Input"], count=1)
    with pytest.raises(MalformedSignature, match=message):
        read(headers)


@pytest.mark.parametrize("value", ["", "vertice=::", "vertice=:AAAA:", "sig1=:x:", "vertice=:" + "*" * 44 + ":"])
def test_the_signature_itself_is_32_octets(value: str) -> None:
    with pytest.raises(MalformedSignature, match="32 octets"):
        read({**headers_of(), "Signature": value})


@pytest.mark.parametrize(
    "value", ["", "md5=:AAAA:", f"{content_digest(b'')}, sha-512=:AAAA:", content_digest(b"")[:-3]]
)
def test_a_digest_is_one_sha_256(value: str) -> None:
    with pytest.raises(MalformedSignature, match="one SHA-256"):
        read({**headers_of(), "Content-Digest": value})


def test_a_target_with_a_host_is_refused() -> None:
    with pytest.raises(MalformedSignature, match="path alone"):
        read(headers_of(), target="http://registry:8888/register")


def test_half_a_signature_is_a_claim_to_be_signed() -> None:
    assert is_signed({"Signature": "x"})
    assert is_signed({"Signature-Input": "x"})
    assert not is_signed({"X-Registry-Token": "x"})


def test_every_header_that_changes_a_request_is_covered() -> None:
    counting = {SEQUENCE_HEADER, CHECK_HEADER, PEER_HEADER, PROTOCOL_HEADER}
    assert {name.lower() for name in counting} == set(SIGNED_HEADERS)
