"""The identities in certificates: a service's SPIFFE id, and its DNS names. Pure.

https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md says what an id may hold. Nothing here reads a
certificate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from registry_core.domain.names import check_known_name, label_of
from registry_core.errors import ValidationError

SCHEME: Final = "spiffe://"
MAX_TRUST_DOMAIN_LENGTH: Final = 255
DEFAULT_TRUST_DOMAIN: Final = "vertice.internal"
# Name constraints (RFC 5280 section 4.2.1.10) compare the host of a URI label by label, so it is written as labels.
_LABELS: Final = re.compile(
    r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*", re.ASCII
)


def check_trust_domain(text: str, *, field: str = "trust_domain") -> str:
    """Return the trust domain in `text`. Raises ValidationError when it is none."""
    domain = text.strip()
    if len(domain) <= MAX_TRUST_DOMAIN_LENGTH and _LABELS.fullmatch(domain) and not domain.rpartition(".")[2].isdigit():
        return domain
    raise ValidationError(
        "a trust domain is a name of lower-case letters, digits, '.', '-' and '_', of at most 255 characters",
        field=field,
        provided=text[:100],
        example=DEFAULT_TRUST_DOMAIN,
    )


def domain_id(trust_domain: str) -> str:
    """Return the SPIFFE id of a trust domain, which its authorities have."""
    return f"{SCHEME}{trust_domain}"


def service_id(trust_domain: str, service: str) -> str:
    """Return the SPIFFE id of a service. Raises ValidationError for what is no name of a service."""
    return f"{SCHEME}{trust_domain}/service/{check_known_name(service)}"


def dns_names(service: str, zones: Iterable[str]) -> tuple[str, ...]:
    """Return the names by which clients look a service up: as registered and as a DNS label, in each zone."""
    spellings = dict.fromkeys((label_of(service), service))
    return tuple(f"{name}.{zone}" for zone in zones for name in spellings)
