"""The wire types of certificates: nothing in them is a secret, and what is unknown is refused."""

from __future__ import annotations

import msgspec
import pytest

from registry_core.api.certificate_schemas import CertificateBody, CertificateView, DenyBody


@pytest.mark.parametrize("kind", [CertificateBody, DenyBody])
def test_a_body_with_an_unknown_field_is_refused(kind: type[msgspec.Struct]) -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown"):
        msgspec.convert({"service_name": "billing", "csr": "", "lifetime": 1}, kind)


def test_an_answer_has_no_private_key() -> None:
    assert not [name for name in CertificateView.__struct_fields__ if "private" in name or name == "key"]
