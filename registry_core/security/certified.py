"""The identity of the client of a connection, by the SPIFFE id in its verified certificate. Pure.

https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md: the certificate has exactly one URI, which names the
workload. Ours name a service, or a role of the registry itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from registry_core.domain.names import is_service_name
from registry_core.errors import Unauthorized
from registry_core.security.identities import Identity, Proof, Role

FIELD: Final = "certificate"
ROLES: Final = {role.value: role for role in (Role.OPERATOR, Role.REPLICA, Role.READER, Role.FOLLOWER)}
MAX_SHOWN: Final = 200


def identity_in(uris: Sequence[str], trust_domain: str, serial: int = 0) -> Identity:
    """Return the identity that a certificate with these URIs proves. Raises Unauthorized for all other forms."""
    example = f"spiffe://{trust_domain}/service/billing"
    if len(uris) != 1:
        what = "no URI" if not uris else f"{len(uris)} URIs"
        raise Unauthorized(
            f"the client's certificate has {what}; it needs exactly one, its SPIFFE id", field=FIELD, example=example
        )
    spiffe_id = uris[0]
    head, slash, path = spiffe_id.removeprefix("spiffe://").partition("/")
    if not spiffe_id.startswith("spiffe://") or not slash:
        raise Unauthorized(
            "the URI of the client's certificate is no SPIFFE id of a service or role",
            field=FIELD,
            provided=spiffe_id[:MAX_SHOWN],
            example=example,
        )
    if head != trust_domain:
        raise Unauthorized(
            f"the client's certificate belongs to another trust domain than this registry's, {trust_domain!r} "
            "(REGISTRY_TRUST_DOMAIN)",
            field=FIELD,
            provided=spiffe_id[:MAX_SHOWN],
            example=example,
        )
    kind, _, name = path.partition("/")
    key_id = f"serial:{serial:x}"
    if kind == "service" and is_service_name(name):
        return Identity(Role.SERVICE, Proof.CERTIFICATE, service=name, key_id=key_id)
    if kind == "role" and name in ROLES:
        return Identity(ROLES[name], Proof.CERTIFICATE, key_id=key_id)
    raise Unauthorized(
        f"the SPIFFE id of the client's certificate ends neither in /service/NAME nor in /role/ and one of "
        f"{', '.join(ROLES)}",
        field=FIELD,
        provided=spiffe_id[:MAX_SHOWN],
        example=example,
    )
