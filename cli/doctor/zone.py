"""Judges the zone's name: who owns it, and who else answers for it. Pure, with a few facts about top-level domains.

The facts are few on purpose. Every two-letter domain belongs to a country (ISO 3166-1) or may come to; of the
others, this module lists those that people tend to use privately.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cli.doctor.facts import Facts, ZoneAnswer
from cli.doctor.finding import DoctorFinding, DoctorRule, DoctorSeverity

# Reserved for private use: ICANN board resolution 2024.07.29.06; RFC 8375; RFC 6761 section 6.2.
_PRIVATE: Final = ("internal", "home.arpa", "test")
# RFC 6761, RFC 7686, RFC 9476: resolvers answer these themselves, without asking a server.
_NEVER_ASKED: Final = frozenset(("localhost", "invalid", "example", "onion", "alt"))
_DELEGATED: Final = frozenset(
    """
    academy agency ai app arpa aws band bar biz blog bot box build business cafe cam cloud club code com community
    company computer cool dev digital dot edu email energy engineering events express fit foo fun fund games global
    google gov group guru host house inc ing int international jobs kitchen land live lol management market media
    meet mil mobi moe monster mov name net network news ninja one online org page partners phd place plus press prime
    pro prod productions red rest review rocks run sale school science services shop site social software solutions
    space spot store stream studio support systems tech technology tips today tools top training travel
    trade ventures vip watch website wiki win work works world wtf xyz zip zone
    """.split()  # noqa: SIM905 - a hundred words read better without quotes
)
# https only, by the preload list of browsers.
_HTTPS_ONLY: Final = frozenset(("app", "bank", "dev", "foo", "gle", "ing", "meme", "mov", "new", "page", "phd", "zip"))
# Public suffixes that are not top-level domains (publicsuffix.org): anyone may register a name below them.
_SHARED: Final = frozenset(
    """
    co.uk org.uk ac.uk gov.uk com.au net.au org.au com.br com.cn com.mx com.tr co.jp co.kr co.in co.nz co.za
    github.io gitlab.io herokuapp.com vercel.app netlify.app pages.dev workers.dev web.app firebaseapp.com appspot.com
    azurewebsites.net cloudapp.net cloudfront.net amazonaws.com fly.dev onrender.com duckdns.org eu.org
    """.split()  # noqa: SIM905 - the same
)

FINE = DoctorRule("zone", DoctorSeverity.OK, "the zone {zone} is under a name reserved for private use")
MULTICAST = DoctorRule(
    "zone-local",
    DoctorSeverity.ERROR,
    "the zone {zone} is under .local, which is for multicast DNS (RFC 6762)",
    "avahi, systemd-resolved and macOS resolve such names by multicast and ask no DNS server",
    "AGENT_DNS_ZONE=vertice.internal",
)
NEVER_ASKED = DoctorRule(
    "zone-special",
    DoctorSeverity.ERROR,
    "the zone {zone} is under .{top}, whose meaning is fixed (RFC 6761, 7686, 9476)",
    "many resolvers answer such names themselves and never ask the agent",
    "AGENT_DNS_ZONE=vertice.internal",
)
SUFFIX = DoctorRule(
    "zone-public-suffix",
    DoctorSeverity.ERROR,
    "the zone {zone} is a public suffix: the names under it belong to others",
    "the agent answers for all of them, so that nothing here reaches the real ones",
    "AGENT_DNS_ZONE=vertice.internal    # or services.{zone} below your own name",
)
PUBLIC = DoctorRule(
    "zone-public",
    DoctorSeverity.NOTE,
    "the zone {zone} is under the public name .{top}",
    "unless the name is yours, its owner may publish other answers{https}",
    "AGENT_DNS_ZONE=vertice.internal    # or a name below a domain that you own",
)
ELSEWHERES = DoctorRule(
    "zone-taken",
    DoctorSeverity.WARNING,
    "the zone {zone} also exists elsewhere: {servers} knows it",
    "programs that ask another server get that zone's answers, and those that ask the agent never reach its names",
    "AGENT_DNS_ZONE=vertice.internal    # or services.{zone}, if the domain is yours",
)
SINGLE = DoctorRule(
    "zone-single-label",
    DoctorSeverity.WARNING,
    "the zone {zone} is a single label that is not reserved for private use",
    "it may become a top-level domain, and some programs treat such names as search terms",
    "AGENT_DNS_ZONE={zone}.internal",
)
UNRESERVED = DoctorRule(
    "zone-unreserved",
    DoctorSeverity.NOTE,
    "the zone {zone} is under .{top}, which is neither public today nor reserved for private use",
    "it may become public, as .dev did",
    "AGENT_DNS_ZONE=vertice.internal",
)
KINDS: Final = (FINE, MULTICAST, NEVER_ASKED, SUFFIX, PUBLIC, ELSEWHERES, SINGLE, UNRESERVED)


def judge(facts: Facts) -> Iterator[DoctorFinding]:
    """Return the findings on the zone."""
    zone = facts.subject.zone
    yield _by_name(zone)
    servers = [server for server, answer in facts.nameservers.items() if answer is ZoneAnswer.ELSEWHERES]
    if servers:
        yield ELSEWHERES.found(zone=zone, servers=", ".join(servers))


def _by_name(zone: str) -> DoctorFinding:
    labels = zone.split(".")
    top = labels[-1]
    if any(zone == private or zone.endswith(f".{private}") for private in _PRIVATE):
        return FINE.found(zone=zone)
    if top == "local":
        return MULTICAST.found(zone=zone)
    if top in _NEVER_ASKED:
        return NEVER_ASKED.found(zone=zone, top=top)
    public = top in _DELEGATED or (len(top) == 2 and top.isalpha())
    if zone in _SHARED or (public and len(labels) == 1):
        return SUFFIX.found(zone=zone)
    if public:
        https = f"; browsers open names under .{top} only with https" if top in _HTTPS_ONLY else ""
        return PUBLIC.found(zone=zone, top=top, https=https)
    return SINGLE.found(zone=zone) if len(labels) == 1 else UNRESERVED.found(zone=zone, top=top)
