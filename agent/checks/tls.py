"""Builds the TLS context of a check."""

from __future__ import annotations

import functools
import ssl

from agent.checks.spec import Tls


@functools.lru_cache(maxsize=64)
def tls_context(tls: Tls, alpn: str = "") -> ssl.SSLContext:
    """Return the context for `tls`; equal settings share one, because each context holds its own authorities.

    Raises ValueError when `ca_pem` holds no certificate. Reads the system's authorities when they are needed.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif tls.ca_pem:
        try:
            context.load_verify_locations(cadata=tls.ca_pem)
        except (ssl.SSLError, ValueError):
            raise ValueError("it holds no certificate in PEM form") from None
    else:
        context.load_default_certs()
    if alpn:
        context.set_alpn_protocols([alpn])
    return context
