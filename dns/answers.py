"""Answers questions: from a question and the view to records. Pure; bytes and caches are elsewhere.

The zone's names, below e.g. `vertice.internal`:

    <service>                A, AAAA, SRV, TXT     <tag>.<service>       the same, for instances with the tag
    _<service>._tcp|_udp     SRV (RFC 2782)        i-<short>             A, AAAA of one instance
    (the apex)               SOA, NS               _services._dns-sd._udp  PTR (RFC 6763 section 9)

and, outside the zone, the reverse names of registered addresses: PTR, to the services there.

A name that is not in view gets NXDOMAIN only if the view is complete, else SERVFAIL: clients cache
NXDOMAIN as a fact, and "not known here" is not one.
"""

from __future__ import annotations

import random as random_module
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

import msgspec

from dns import codec, record_data, txt_strings
from dns.access import IpNetwork
from dns.codec import Answer, Name, Query, Rcode, Record, Type
from dns.name_limits import fits
from dns.reverse import ReverseNames, address_of, may_lead_to_services
from dns.rotation import ONE_ORDER, Orders, arranged, shuffled
from registry_core.domain.freshness import Freshness, freshness_of
from registry_core.domain.names import SHORT_ID_LENGTH, ip_address, label_of, short_id
from registry_core.domain.records import Instance, Protocol, Status
from registry_core.domain.selection import Filter, WhenNonePass, serving
from registry_core.ports.local_view import LocalView

# Extended DNS Errors: RFC 8914 section 4.
STALE_ANSWER: Final = 3
NOT_READY: Final = 14
STALE_NXDOMAIN: Final = 19
NOT_AUTHORITATIVE: Final = 20
NOT_SUPPORTED: Final = 21
# The longest TTL of a stale answer: clients should soon ask again.
STALE_TTL_S: Final = 5
# Types that no name has: the zone cannot be transferred, RFC 973 abolished MAILA and MAILB, and the rest occur in
# messages but not in questions. (Merely unknown types get NODATA: RFC 8906 section 7.)
_NO_SUCH_QUESTION: Final[dict[int, Rcode]] = {
    Type.AXFR: Rcode.REFUSED,
    Type.IXFR: Rcode.REFUSED,
    Type.MAILA: Rcode.NOTIMP,
    Type.MAILB: Rcode.NOTIMP,
    Type.OPT: Rcode.FORMERR,
    Type.TKEY: Rcode.FORMERR,
    Type.TSIG: Rcode.FORMERR,
}
_NOT_OURS: Final = Answer(Rcode.REFUSED, authoritative=False, extended_error=NOT_AUTHORITATIVE)
_INSTANCE_LABEL: Final = b"i-"
_TRANSPORTS: Final = (b"_tcp", b"_udp")
_LOOPBACK: Final = b"\x7f\0\0\1"
NEAR_PRIORITY: Final = 0
FAR_PRIORITY: Final = 10
# The shortest record in an answer: a pointer, the fixed fields, an IPv4 address.
_MIN_RECORD: Final = 16


class ZoneSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of the zone. `_s` means seconds."""

    zone: str = "vertice.internal"
    ttl_s: int = 5
    negative_ttl_s: int = 5
    local_zone: str = ""
    when_none_pass: WhenNonePass = WhenNonePass.ALL
    reverse_networks: tuple[IpNetwork, ...] = ReverseNames().at_once(asks_resolvers=False)  # of registered addresses


class CacheableAnswer(msgspec.Struct, frozen=True):
    """An answer, the label of the one service it depends on, and which of its orders it is in.

    Without a label it may depend on any service: any change makes it doubtful.
    """

    answer: Answer
    label: str = ""
    orders: Orders = ONE_ORDER
    lacking: bool = False  # the service exists, but its records are still being fetched


class Zone:
    """Answers for one zone, from one view."""

    def __init__(self, view: LocalView, settings: ZoneSettings) -> None:
        self._view = view
        self._settings = settings
        self._apex: Name = record_data.name_of(settings.zone)
        self.apex = record_data.name_data(self._apex)  # uncompressed, in lower case
        self._primary: Name = (b"ns", *self._apex)
        soa = record_data.soa_data(self._primary, (b"hostmaster", *self._apex), 1, settings.negative_ttl_s)
        self._soa = soa

    def prefer(self, local_zone: str, when_none_pass: WhenNonePass) -> None:
        """Set this agent's local zone, and the policy when no instance passes."""
        self._settings = msgspec.structs.replace(self._settings, local_zone=local_zone, when_none_pass=when_none_pass)

    def answer(
        self,
        query: Query,
        random: random_module.Random,
        size: int = codec.MAX_MESSAGE,
        number: int | None = None,
    ) -> CacheableAnswer:
        """Return the answer to `query`; `random` draws the order of several records.

        It holds all records, or at least one more than fit into `size` octets: writing out the
        thousands of a large service, of which twenty are sent, would take as long as 500 answers.
        `number` is the wanted order, among those that an earlier answer announced.
        """
        if query.edns is not None and query.edns.version != 0:
            return CacheableAnswer(Answer(Rcode.BADVERS, authoritative=False))
        refusal = _NO_SUCH_QUESTION.get(query.qtype)
        if query.qclass not in (codec.CLASS_IN, codec.CLASS_ANY) or refusal is not None:
            return CacheableAnswer(Answer(refusal or Rcode.REFUSED, authoritative=False, extended_error=NOT_SUPPORTED))
        name = tuple(label.lower() for label in query.name)
        depth = len(name) - len(self._apex)
        if depth < 0 or name[depth:] != self._apex:
            found = CacheableAnswer(self.reverse(query, self._settings.reverse_networks) or _NOT_OURS)
        elif depth == 0:
            found = CacheableAnswer(self._of_apex(query))
        else:
            found = self._below(query, name[:depth], random, size // _MIN_RECORD + 1, number)
        if query.qclass == codec.CLASS_ANY:
            # Other classes are unknown here (RFC 1034 section 6.2.2).
            found = msgspec.structs.replace(found, answer=msgspec.structs.replace(found.answer, authoritative=False))
        return found

    def reverse(self, query: Query, networks: Iterable[IpNetwork] | None = None) -> Answer | None:
        """Return the answer to a reverse name of a registered address, which is in `networks` if given, or None."""
        name = tuple(label.lower() for label in query.name)
        ip = address_of(name)
        instances = self._view.catalog.by_ip(ip) if ip is not None and may_lead_to_services(ip, networks) else ()
        if not instances:
            return None
        labels = sorted({instance.key.label for instance in instances})
        data = {
            Type.PTR: [record_data.name_data((label.encode(), *self._apex)) for label in labels],
            Type.SOA: [self._soa],  # the address is its own zone: the network's belongs to someone else
            Type.NS: [record_data.name_data(self._primary)],
        }
        return self._shaped(query, data, zone=name)

    def _below(
        self, query: Query, labels: Name, random: random_module.Random, most: int, number: int | None
    ) -> CacheableAnswer:
        match labels:
            case (transport,) if transport in _TRANSPORTS:
                return CacheableAnswer(self._nothing(Rcode.NOERROR))  # RFC 8020: there are names below it
            case (b"_dns-sd", b"_udp"):
                return CacheableAnswer(self._nothing(Rcode.NOERROR))
            case (b"_services", b"_dns-sd", b"_udp"):
                return CacheableAnswer(self._enumeration(query, most))
            case (b"ns",):
                # The name server of a zone served on the client's own machine.
                return CacheableAnswer(self._shaped(query, {Type.A: [_LOOPBACK]}))
            case (service, transport) if transport in _TRANSPORTS and service.startswith(b"_"):
                return self._service(query, service[1:], random, most, number, transport=transport)
            case (one,):
                short = _short(one)
                if short is not None:
                    return self._instance(query, short)
                return self._service(query, one, random, most, number)
            case (tag, service):
                return self._service(query, service, random, most, number, tag=tag)
            case _:
                return CacheableAnswer(self._unknown())

    # -- kinds of names

    def _of_apex(self, query: Query) -> Answer:
        answer = self._shaped(query, {Type.SOA: [self._soa], Type.NS: [record_data.name_data(self._primary)]})
        if query.qtype != Type.NS:
            return answer
        return msgspec.structs.replace(answer, additional=(Record(self._primary, Type.A, self._ttl_s(), _LOOPBACK),))

    def _enumeration(self, query: Query, most: int) -> Answer:
        labels = sorted(self._view.labels())
        if not labels:
            return self._nothing(Rcode.NOERROR) if self._view.complete else _cannot_tell()
        # Names of 63 characters, of an earlier release, have no form with a '_'.
        ways = ((label, way) for label in labels[:most] for way in self._transports(label))
        names = ((b"_" + label.encode(), way, *self._apex) for label, way in ways)
        return self._shaped(query, {Type.PTR: list(map(record_data.name_data, filter(fits, names)))})

    def _transports(self, label: str) -> list[bytes]:
        return sorted(b"_udp" if one is Protocol.UDP else b"_tcp" for one in self._view.transports(label))

    def _instance(self, query: Query, short: str) -> CacheableAnswer:
        instance = self._view.catalog.by_short(short) or self._view.static_services.by_short(short)
        if instance is None:
            # The name shows neither which service it will belong to, nor whether that service is one not held here.
            return CacheableAnswer(self._unknown() if self._view.holds_all else _cannot_tell())
        data = {type_: list(_addresses([instance], type_)) for type_ in (Type.A, Type.AAAA)}
        return CacheableAnswer(self._shaped(query, data), label=label_of(instance.service_name))

    def _service(
        self,
        query: Query,
        service: bytes,
        random: random_module.Random,
        most: int,
        number: int | None,
        *,
        tag: bytes = b"",
        transport: bytes = b"",
    ) -> CacheableAnswer:
        name, wanted_tag = _text(service), _text(tag)
        if name is None or wanted_tag is None:
            return CacheableAnswer(self._unknown())
        label = label_of(name)
        found = self._view.find(name)
        lacking = self._view.lacks(name)
        if found is None and lacking:
            return CacheableAnswer(_cannot_tell(), label=label, lacking=True)
        instances: Sequence[Instance] = found.instances if found is not None else ()
        if transport:
            instances = [i for i in instances if _transport(i) == transport]
        if wanted_tag:
            instances = [i for i in instances if wanted_tag in i.tags]
        if not instances:
            # The service may exist with another transport or tag: then only this name does not.
            return CacheableAnswer(self._unknown(), label=label, lacking=lacking)
        if query.qtype == Type.ANY:
            query = msgspec.structs.replace(query, qtype=_one_type(instances, only_srv=bool(transport)))
        usable, leaving = usable_and_leaving(instances, self._settings.when_none_pass)
        # A and AAAA carry no weights: draining instances are named only when there are no others.
        order, orders = arranged(
            usable or leaving, random, is_far=self._is_far, leads=lambda i: _has(i, query.qtype), number=number
        )
        if query.qtype == Type.SRV:
            last = shuffled(leaving, random, self._is_far) if usable else order
            answer = self._srv(order[:most] if usable else (), last)
        else:
            answer = self._of_service(query, order, most, only_srv=bool(transport))
        # A single record has one order, however many instances it covers.
        return CacheableAnswer(
            answer, label=label, orders=orders if len(answer.answers) > 1 else ONE_ORDER, lacking=lacking
        )

    def _of_service(self, query: Query, instances: Sequence[Instance], most: int, *, only_srv: bool) -> Answer:
        match query.qtype:
            case Type.A | Type.AAAA if not only_srv:
                type_ = Type(query.qtype)
                answer = self._shaped(query, {type_: _distinct(_addresses(instances, type_), most)})
                # Clients without EDNS are stubs that want one address, and some cannot retry over TCP. Those with
                # EDNS may be resolvers, which would cache the part as the whole RRset.
                return msgspec.structs.replace(answer, part_will_do=query.edns is None)
            case Type.TXT if not only_srv:
                attributes = _distinct(chain.from_iterable(map(txt_strings.strings_of, instances)), most)
                return self._shaped(query, {Type.TXT: [record_data.text_data([one]) for one in attributes or [b""]]})
            case _:
                return self._shaped(query, {})

    def _srv(self, usable: Sequence[Instance], leaving: Sequence[Instance]) -> Answer:
        """Return SRV records: by nearness, then by weight, and last the draining instances, with weight 0.

        A draining instance never has a better priority than the best of the others: a client picks
        within the best priority, and would find only draining instances there.
        """
        best = min((self._priority(i) for i in usable), default=NEAR_PRIORITY)
        placed = [(instance, self._priority(instance), instance.weight) for instance in usable]
        placed += [(instance, max(best, self._priority(instance)), 0) for instance in leaving]
        if not placed:
            return self._nothing(Rcode.NOERROR)
        answers: list[Record] = []
        additional: list[Record] = []
        ttl_s = self._ttl_s()
        for instance, priority, weight in placed:
            target = self._target(instance)
            data = record_data.srv_data(priority, weight, instance.port, target)
            answers.append(Record(None, Type.SRV, ttl_s, data))
            additional += [
                Record(target, type_, ttl_s, address)
                for type_ in (Type.A, Type.AAAA)
                for address in _addresses([instance], type_)
            ]
        return Answer(Rcode.NOERROR, answers=tuple(answers), additional=tuple(additional), extended_error=self._age())

    def _priority(self, instance: Instance) -> int:
        return FAR_PRIORITY if self._is_far(instance) else NEAR_PRIORITY

    def _is_far(self, instance: Instance) -> bool:
        return bool(self._settings.local_zone) and instance.zone != self._settings.local_zone

    def _target(self, instance: Instance) -> Name:
        """Return a name that has the instance's addresses (never an alias, RFC 2782)."""
        host = record_data.name_of(instance.host)
        if any(ip_address(ip) for ip in _ips(instance)) or not fits(host):
            return (_INSTANCE_LABEL + short_id(instance.service_name, instance.instance_id).encode(), *self._apex)
        # It could not be resolved at registration. The client's resolver may be able to, perhaps even
        # a name of one label (a container's); without a target the instance would not appear at all.
        return host

    # -- shapes of answers

    def _shaped(self, query: Query, data: dict[Type, list[bytes]], zone: Name | None = None) -> Answer:
        """Return a name's records of the requested type; NODATA, with the SOA of `zone`, when there are none.

        ANY gets one RRset, the first (RFC 8482 section 4.1).
        """
        wanted = next((type_ for type_ in data if data[type_] and query.qtype in (type_, Type.ANY)), None)
        if wanted is None:
            return self._nothing(Rcode.NOERROR, zone)
        records = tuple(Record(None, wanted, self._ttl_s(), one) for one in data[wanted])
        return Answer(Rcode.NOERROR, answers=records, extended_error=self._age())

    def _nothing(self, rcode: Rcode, zone: Name | None = None) -> Answer:
        """Return NODATA or NXDOMAIN, with the SOA (of our zone by default) that limits how long it is cached.

        Its TTL equals its MINIMUM, since resolvers use the smaller of the two (RFC 2308 section 5).
        """
        soa = Record(zone or self._apex, Type.SOA, self._lifetime_s(self._settings.negative_ttl_s), self._soa)
        error = STALE_NXDOMAIN if rcode is Rcode.NXDOMAIN else STALE_ANSWER
        return Answer(rcode, authority=(soa,), extended_error=error if self._is_old() else None)

    def _unknown(self) -> Answer:
        return self._nothing(Rcode.NXDOMAIN) if self._view.complete else _cannot_tell()

    def _is_old(self) -> bool:
        return freshness_of(self._view.age_s()) is not Freshness.FRESH

    def _age(self) -> int | None:
        return STALE_ANSWER if self._is_old() else None

    def _ttl_s(self) -> int:
        return self._lifetime_s(self._settings.ttl_s)

    def _lifetime_s(self, usual_s: int) -> int:
        return min(usual_s, STALE_TTL_S) if self._is_old() else usual_s


def usable_and_leaving(
    instances: Sequence[Instance], when_none_pass: WhenNonePass
) -> tuple[Sequence[Instance], Sequence[Instance]]:
    """Return the instances of a service to answer with, and the draining ones to name in addition.

    SRV has both, the draining ones with weight 0; A and AAAA have these only when there are no others.
    """
    usable = serving(instances, Filter(), when_none_pass)
    if not usable and when_none_pass is WhenNonePass.NONE:
        return (), ()
    return usable, [i for i in instances if i.status is Status.DRAINING]


def _cannot_tell() -> Answer:
    return Answer(Rcode.SERVFAIL, authoritative=False, extended_error=NOT_READY)


def _transport(instance: Instance) -> bytes:
    return b"_udp" if instance.protocol is Protocol.UDP else b"_tcp"


def _short(label: bytes) -> str | None:
    """Return the short id in `i-<short>`, or None when the label is not of that form."""
    digits = label[len(_INSTANCE_LABEL) :]
    if not label.startswith(_INSTANCE_LABEL) or len(digits) != SHORT_ID_LENGTH:
        return None
    return digits.decode() if all(d in b"0123456789abcdef" for d in digits) else None


def _text(label: bytes) -> str | None:
    return label.decode("ascii") if label.isascii() else None


def _ips(instance: Instance) -> tuple[str, ...]:
    return instance.addresses or (instance.host,)


def _addresses(instances: Iterable[Instance], type_: Type) -> Iterator[bytes]:
    version = 4 if type_ is Type.A else 6
    parsed = (ip_address(ip) for i in instances for ip in _ips(i))
    return (ip.packed for ip in parsed if ip is not None and ip.version == version)


def _one_type(instances: Sequence[Instance], *, only_srv: bool) -> Type:
    """Return the type of the one RRset that answers ANY: a small one, which the service has."""
    types = () if only_srv else (Type.A, Type.AAAA)
    return next((type_ for type_ in types if any(_addresses(instances, type_))), Type.SRV)


def _has(instance: Instance, qtype: int) -> bool:
    """Return whether an instance has records of this type; all have SRV and TXT."""
    return qtype not in (Type.A, Type.AAAA) or any(_addresses([instance], Type(qtype)))


def _distinct(data: Iterable[bytes], most: int) -> list[bytes]:
    """Return the first `most` distinct items: an RRset holds no record twice (RFC 2181 section 5)."""
    found: dict[bytes, None] = {}
    for one in data:
        found[one] = None
        if len(found) == most:
            break
    return list(found)
