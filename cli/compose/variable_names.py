"""The words of a variable's name, and what they say about its value: a host to look up, or a name that is compared.

Pure. An origin, an issuer, a redirect, a public URL or a virtual host is an identity: programs compare it letter by
letter or hand it to a browser, and nobody on this network looks it up. Another name in its place would break it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_WORD: Final = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+", re.ASCII)

_ORIGIN: Final = "it is the origin of a browser's request, which is compared letter by letter"
_ISSUER: Final = "it names who issues or receives tokens, which is compared letter by letter"
_SENT: Final = "a browser is sent there, and resolves the name itself"
_BROWSER: Final = "it becomes part of a program in the browser, which resolves the name itself"
_PUBLIC: Final = "it is a public URL, which others are given"
_TOLD: Final = "it is what others are told to call it by"
_VIRTUAL: Final = "it is a virtual host, by which requests are told apart"
_ACCEPTED: Final = "it lists names that requests may carry"
_LISTED: Final = "it lists addresses that are compared letter by letter"
_NAMED: Final = "it is an identifier, which is compared letter by letter"
_MEMBER: Final = "it names a member of a cluster"

# Phrases of a name, in order: the first that occurs decides.
_IDENTITIES: Final = tuple(
    (tuple(phrase.split()), reason)
    for phrases, reason in (
        (("CORS", "CSRF", "ALLOW ORIGIN", "ALLOWED ORIGIN", "TRUSTED ORIGIN"), _ORIGIN),
        (("ALLOW ORIGINS", "ALLOWED ORIGINS", "TRUSTED ORIGINS"), _ORIGIN),
        (("CSP", "CONTENT SECURITY", "FRAME ANCESTORS", "REFERER", "REFERERS", "REFERRER", "REFERRERS"), _ORIGIN),
        (("ISSUER", "AUTHORITY", "AUDIENCE", "REALM URL", "ENTITY ID", "RP ID"), _ISSUER),
        (("CLIENT ID", "JWT CLAIM", "JWT CLAIMS", "XMLNS"), _NAMED),
        (("NO PROXY",), _LISTED),
        (("REDIRECT", "REDIRECTS", "CALLBACK", "CALLBACKS", "RETURN URL", "LOGOUT URL", "LOGOUT URI"), _SENT),
        (("AUTHORIZE", "AUTHORIZATION URL", "AUTHORIZATION URI", "AUTHORIZATION ENDPOINT"), _SENT),
        (("PROXY LOGIN URL", "END SESSION", "ACS URL", "CONSUMER SERVICE URL", "RETURN TO"), _SENT),
        (("BROWSER API", "SWAGGER SERVER"), _BROWSER),
        (("PUBLIC", "CANONICAL", "HOMEPAGE", "SITE URL", "SITE HOST", "SITE DOMAIN", "ROOT URL"), _PUBLIC),
        (("EXTERNAL URL", "EXTERNAL URI", "EXTERNAL HOST", "EXTERNAL HOSTNAME", "EXTERNAL DOMAIN"), _PUBLIC),
        (
            ("EXTERNAL ADDR", "EXTERNAL ADDRESS", "EXTERNAL BASE", "FRONTEND URL", "FRONT END URL", "CLIENT URL"),
            _PUBLIC,
        ),
        (("WEB APP URL", "KC HOSTNAME", "NEXTAUTH URL"), _PUBLIC),
        (("ADVERTISE", "ADVERTISED", "ADVERTISING", "ANNOUNCE", "ANNOUNCED"), _TOLD),
        (
            ("VIRTUAL HOST", "VIRTUAL HOSTS", "VHOST", "VHOSTS", "LETSENCRYPT HOST", "SERVER NAME", "SERVER NAMES"),
            _VIRTUAL,
        ),
        (("HOST HEADER",), _VIRTUAL),
        (("ALLOWED HOST", "ALLOWED HOSTS", "TRUSTED HOST", "TRUSTED HOSTS", "ALLOWED DOMAINS", "COOKIE"), _ACCEPTED),
        (("INITIAL MASTER NODES", "NODE NAME", "MASTER NAME", "CLUSTER HOSTNAME"), _MEMBER),
    )
    for phrase in phrases
)
_BY_FIRST_WORD: Final = {
    first: [(rank, phrase, reason) for rank, (phrase, reason) in enumerate(_IDENTITIES) if phrase[0] == first]
    for first in {phrase[0] for phrase, _ in _IDENTITIES}
}
# Phrases that decide only as the last words of a name: an origin server (`ORIGIN_URL`) is looked up.
_LAST: Final = (
    (("ORIGIN",), _ORIGIN),
    (("ORIGINS",), _ORIGIN),
    (("ISS",), _ISSUER),
    (("AUD",), _ISSUER),
    (("RESOURCE",), _ISSUER),
    (("NAMESPACE",), _NAMED),
    (("ALLOWLIST",), _LISTED),
    (("ALLOW", "LIST"), _LISTED),
    (("WHITELIST",), _LISTED),
    (("HREF",), _SENT),
    (("NEXT",), _SENT),
    (("DOMAIN",), _PUBLIC),
    (("DOMAINS",), _PUBLIC),
    (("HOST", "NAME"), _VIRTUAL),
)
# Names that decide only as a whole: `API_BASE_URL` is looked up.
_WHOLE: Final = frozenset({("APP", "URL"), ("BASE", "URL"), ("APP", "BASE", "URL"), ("SERVER", "BASE", "URL")})
# Bundlers copy variables that begin like this into programs for browsers.
_BUNDLED: Final = tuple(
    tuple(prefix.split())
    for prefix in (
        *("NEXT PUBLIC", "NUXT PUBLIC", "EXPO PUBLIC", "REACT APP", "VUE APP", "PREACT APP", "NG APP"),
        *("VITE", "GATSBY", "STORYBOOK"),
    )
)
# What a bundler's own server uses: `VITE_PROXY_TARGET` is looked up.
_BY_SERVERS: Final = frozenset({"PROXY", "INTERNAL", "SSR"})
# Endpoints of an issuer, and keys, which servers fetch themselves.
_FETCHED: Final = frozenset(
    {"JWKS", "JWK", "KEY", "KEYS", "CERTS", "TOKEN", "USERINFO", "INTROSPECTION", "INTROSPECT", "DISCOVERY"}
)


@lru_cache(maxsize=4096)
def words_of(name: str) -> tuple[str, ...]:
    """Return the words of a name, in upper case: of `DbHost`, `DB_HOST` and `db.host` DB and HOST."""
    return tuple(word.upper() for word in _WORD.findall(name[:256]))


@lru_cache(maxsize=4096)
def identity_of(name: str) -> str:
    """Return why a variable's or an option's value is an identity and no lookup, judging by its name, or nothing."""
    words = words_of(name)
    if any(words[: len(prefix)] == prefix for prefix in _BUNDLED) and not _BY_SERVERS & set(words):
        return _BROWSER
    is_fetched = not _FETCHED.isdisjoint(words)
    found = [
        (rank, reason)
        for at, word in enumerate(words)
        for rank, phrase, reason in _BY_FIRST_WORD.get(word, ())
        if words[at : at + len(phrase)] == phrase and not (is_fetched and reason in (_ISSUER, _PUBLIC))
    ]
    if found:
        return min(found)[1]
    for phrase, reason in _LAST:
        if words[-len(phrase) :] == phrase:
            return reason
    return _PUBLIC if words in _WHOLE else ""


def is_list_of_accepted_hosts(name: str) -> bool:
    """Return whether a variable lists the hosts that requests may name, such as Django's ALLOWED_HOSTS."""
    return identity_of(name) is _ACCEPTED and "COOKIE" not in words_of(name)
