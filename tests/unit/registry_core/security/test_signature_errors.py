"""What is wrong with a signature is a 401; one from before the start is nobody's fault."""

from __future__ import annotations

import pytest

from registry_core.api.problems import error_response
from registry_core.errors import VerticeError
from registry_core.security.signature_errors import (
    AlteredBody,
    MalformedSignature,
    OutOfTime,
    Replayed,
    SignedBeforeStart,
    UnknownKey,
    WrongSignature,
)


@pytest.mark.parametrize(
    "kind", [MalformedSignature, UnknownKey, WrongSignature, AlteredBody, OutOfTime, Replayed], ids=lambda k: k.__name__
)
def test_a_wrong_signature_is_refused_with_its_own_name(kind: type[VerticeError]) -> None:
    response = error_response(kind("why"))
    assert response.status == 401
    assert f'"error":"{kind.__name__}"'.encode() in bytes(response.body)  # type: ignore[arg-type] # it is bytes


def test_a_signature_from_before_the_start_is_to_be_made_again() -> None:
    response = error_response(SignedBeforeStart("sign it again"))
    assert response.status == 503
    assert response.headers["Retry-After"] == "1"
