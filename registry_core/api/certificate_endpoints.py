"""The rows of the table of endpoints about certificates. It contains no code."""

from __future__ import annotations

from typing import Final

from registry_core.api.certificate_schemas import AuthorityView, CertificateBody, CertificateView, DeniedView, DenyBody
from registry_core.api.endpoint import Endpoint, Parameter
from registry_core.security.rights import Right

PEM: Final = "application/pem-certificate-chain"  # RFC 8555 section 9.1

CERTIFICATE_ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/certificates",
        name="authority",
        right=Right.BE_PROBED,
        summary="The certificate authority: what it signs for, who signs, and the roots to trust; 404 without one",
        answers={200: AuthorityView},
        errors=(404,),
    ),
    Endpoint(
        method="POST",
        path="/certificates",
        name="issue_certificate",
        right=Right.CERTIFY,
        summary="Issue a certificate for the key of a CSR; all else in it follows from the service",
        body=CertificateBody,
        answers={201: CertificateView},
        errors=(400, 401, 403, 404, 408, 413, 415, 503),
        writes=True,
    ),
    Endpoint(
        method="GET",
        path="/certificates/bundle",
        name="certificate_bundle",
        right=Right.BE_PROBED,
        summary="The roots to trust, in PEM; 404 without an authority",
        answers={200: str, 304: None},
        errors=(404,),
        media_type=PEM,
    ),
    Endpoint(
        method="GET",
        path="/certificates/denied",
        name="denied_list",
        right=Right.LOOK_UP,
        summary="The deny list: services and certificates that are refused",
        query=(Parameter("serial", str, "only the entry about this certificate, by its serial number"),),
        answers={200: DeniedView},
        errors=(400,),
    ),
    Endpoint(
        method="POST",
        path="/certificates/denied",
        name="deny",
        right=Right.DENY,
        summary="Deny a service or one certificate at all replicas, or withdraw that",
        body=DenyBody,
        answers={200: DeniedView},
        errors=(400, 401, 403, 404, 408, 413, 415, 503),
        writes=True,
    ),
)
