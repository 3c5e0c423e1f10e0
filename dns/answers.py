"""Answers questions: from a question and the view to records. Pure; bytes and caches are elsewhere.

It answers the names of the zone, which `zone_names.py` defines, and outside it the reverse names of registered
addresses: PTR, to the services there.

A name that is not in view gets NXDOMAIN only if the view is complete, or if no registry accepts it, else SERVFAIL:
clients cache NXDOMAIN as a fact, and "not known here" is not one.
"""

from __future__ import annotations

import random as random_module
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final

import msgspec

from dns import codec, record_data, txt_strings
from dns.answer_shapes import NOT_READY, AnswerShapes, cannot_tell
from dns.codec import Answer, Name, Query, Rcode, Record, Type
from dns.instance_records import addresses, distinct, has_records, instance_label, ips_of, one_type, transport_of
from dns.name_limits import fits
from dns.reverse import ReverseNames, address_of, may_lead_to_services
from dns.rotation import ONE_ORDER, Orders, arranged, shuffled
from dns.zone_names import (
    INSTANCE_LABEL,
    BrowsedDomains,
    EmptyName,
    InstanceName,
    ListedInstance,
    NameServer,
    ServiceName,
    ServiceTypes,
    TransportOf,
    zone_name,
)
from registry_core.domain.names import ip_address, label_of, short_id
from registry_core.domain.networks import IpNetwork
from registry_core.domain.records import Instance
from registry_core.domain.selection import ANY, WhenNonePass, selected
from registry_core.ports.local_view import LocalView

# Extended DNS Errors: RFC 8914 section 4.
NOT_AUTHORITATIVE: Final = 20
NOT_SUPPORTED: Final = 21
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
_LOOPBACK: Final = b"\x7f\0\0\1"
NEAR_PRIORITY: Final = 0
FAR_PRIORITY: Final = 10
# An instance of weight 1 has this weight in SRV, so that the 1 which nginx makes of a draining instance's 0 is next to
# nothing. HAProxy divides by the same number, so that it sees our weights.
WEIGHT_UNIT: Final = 256
# Instances whose SRV, TXT and addresses come with the list of a service's instances: of more, they would not fit.
MOST_DESCRIBED: Final = 8
_MAX_WEIGHT: Final = 65535
# The shortest record in an answer: a pointer, the fixed fields, an IPv4 address.
_MIN_RECORD: Final = 16
_BEFORE_DATA: Final = 12  # the pointer and the fixed fields


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
        self._shapes = AnswerShapes(view, self._apex, ttl_s=settings.ttl_s, negative_ttl_s=settings.negative_ttl_s)
        self.apex = record_data.name_data(self._apex)  # uncompressed, in lower case

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
        instances = self._view.by_ip(ip) if ip is not None and may_lead_to_services(ip, networks) else ()
        if not instances:
            return None
        labels = sorted({instance.key.label for instance in instances})
        data = {
            Type.PTR: [record_data.name_data((label.encode(), *self._apex)) for label in labels],
            # The single address is its own zone, since the network's zone belongs to someone else.
            Type.SOA: [self._shapes.soa],
            Type.NS: [record_data.name_data(self._shapes.primary)],
        }
        return self._shapes.of_types(query, data, zone=name)

    def _below(
        self, query: Query, labels: Name, random: random_module.Random, most: int, number: int | None
    ) -> CacheableAnswer:
        match zone_name(labels):
            case None:
                return CacheableAnswer(self._shapes.impossible())
            case EmptyName():
                return CacheableAnswer(self._shapes.nothing(Rcode.NOERROR))
            case ServiceTypes():
                return CacheableAnswer(self._enumeration(query, most))
            case BrowsedDomains():
                return CacheableAnswer(self._shapes.of_types(query, {Type.PTR: [record_data.name_data(self._apex)]}))
            case NameServer():
                # The name server of a zone served on the client's own machine.
                return CacheableAnswer(self._shapes.of_types(query, {Type.A: [_LOOPBACK]}))
            case InstanceName(short=short):
                return self._instance(query, short)
            case ServiceName() as name:
                return self._service(query, name, random, most, number)
            case TransportOf() as name:
                instances = self._instances(name.label, transport=name.transport)
                return (
                    self._absent(name)
                    if not instances
                    else CacheableAnswer(self._shapes.nothing(Rcode.NOERROR), label=name.label)
                )
            case ListedInstance() as name:
                return self._listed_instance(query, name)

    # -- kinds of names

    def _of_apex(self, query: Query) -> Answer:
        answer = self._shapes.of_types(
            query, {Type.SOA: [self._shapes.soa], Type.NS: [record_data.name_data(self._shapes.primary)]}
        )
        if query.qtype != Type.NS:
            return answer
        return msgspec.structs.replace(
            answer, additional=(Record(self._shapes.primary, Type.A, self._shapes.ttl_s(), _LOOPBACK),)
        )

    def _enumeration(self, query: Query, most: int) -> Answer:
        labels = sorted(self._view.labels())
        if not labels:
            return self._shapes.nothing(Rcode.NOERROR) if self._view.complete else cannot_tell()
        # An earlier release registered names of 63 characters, which have no form with a '_'.
        names = (
            (b"_" + label.encode(), way, *self._apex) for label in labels[:most] for way in self._transports(label)
        )
        answer = self._shapes.of_types(query, {Type.PTR: list(map(record_data.name_data, filter(fits, names)))})
        if self._view.complete or answer.extended_error is not None:
            return answer
        return msgspec.structs.replace(answer, extended_error=NOT_READY)  # there may be more

    def _transports(self, label: str) -> list[bytes]:
        return sorted(map(transport_of, self._view.transports(label)))

    def _instance(self, query: Query, short: str) -> CacheableAnswer:
        instance = self._view.by_short(short)
        if instance is None:
            # The name shows neither which service it will belong to, nor whether that service is one not held here.
            return CacheableAnswer(self._shapes.unknown() if self._view.holds_all else cannot_tell())
        data = {type_: list(addresses([instance], type_)) for type_ in (Type.A, Type.AAAA)}
        return CacheableAnswer(self._shapes.of_types(query, data), label=label_of(instance.service_name))

    def _instances(self, label: str, *, tag: str = "", transport: bytes = b"") -> Sequence[Instance]:
        """Return the instances of a service with that tag and transport."""
        found = self._view.find(label)
        instances: Sequence[Instance] = found.instances if found is not None else ()
        if transport:
            instances = [i for i in instances if transport_of(i.protocol) == transport]
        return [i for i in instances if tag in i.tags] if tag else instances

    def _absent(self, name: ServiceName | TransportOf | ListedInstance) -> CacheableAnswer:
        """Return the answer for a name that no instance has: there is none, or that is unknown."""
        label = name.label
        if self._view.lacks(label):
            # The service may have such an instance, whatever a static entry for it says.
            return CacheableAnswer(cannot_tell(), label=label, lacking=True)
        # The service may exist with another transport or tag: then only this name does not.
        return CacheableAnswer(self._shapes.unknown(possible=name.is_possible), label=label)

    def _service(
        self, query: Query, name: ServiceName, random: random_module.Random, most: int, number: int | None
    ) -> CacheableAnswer:
        instances = self._instances(name.label, tag=name.tag, transport=name.transport)
        if not instances:
            return self._absent(name)
        selection = selected(instances, ANY, self._settings.when_none_pass, self._view.has_drained)
        if not selection.usable and not self._view.complete:
            # Others may exist, and be usable.
            return CacheableAnswer(cannot_tell(), label=name.label, lacking=self._view.lacks(name.label))
        if query.qtype == Type.ANY:
            query = msgspec.structs.replace(query, qtype=one_type(selection.usable, only_srv=bool(name.transport)))
        order, orders = arranged(
            selection.usable,
            random,
            is_far=self._is_far,
            leads=lambda i: has_records(i, query.qtype),
            number=number,
        )
        if query.qtype == Type.SRV:
            answer = self._srv(order, shuffled(selection.leaving, random, self._is_far), most * _MIN_RECORD)
        elif query.qtype == Type.PTR and name.is_type:
            answer = self._listed(query, name, [*order, *selection.leaving], most)
        else:
            # A and AAAA carry no weights, so they leave out those that only finish their work.
            answer = self._of_service(query, order, most, only_srv=bool(name.transport))
        # A single record has one order, however many instances it covers.
        return CacheableAnswer(
            answer,
            label=name.label,
            orders=orders if len(answer.answers) > 1 else ONE_ORDER,
            lacking=self._view.lacks(name.label),
        )

    def _of_service(self, query: Query, instances: Sequence[Instance], most: int, *, only_srv: bool) -> Answer:
        match query.qtype:
            case Type.A | Type.AAAA if not only_srv:
                type_ = Type(query.qtype)
                answer = self._shapes.of_types(query, {type_: distinct(addresses(instances, type_), most)})
                # Clients without EDNS are stubs that want one address, and some cannot retry over TCP. Those with
                # EDNS may be resolvers, which would cache the part as the whole RRset.
                return msgspec.structs.replace(answer, part_will_do=query.edns is None)
            case Type.TXT if not only_srv:
                attributes = distinct(chain.from_iterable(map(txt_strings.strings_of, instances)), most)
                texts = [record_data.text_data([one]) for one in attributes or [b""]]
                return self._shapes.of_types(query, {Type.TXT: texts})
            case _:
                return self._shapes.of_types(query, {})

    def _srv(self, usable: Sequence[Instance], leaving: Sequence[Instance], octets: int) -> Answer:
        """Return SRV records: by nearness, then by weight, and last the leaving instances, with weight 0.

        A leaving instance never has a better priority than the best of the others: a client picks
        within the best priority, and would find only leaving instances there. Nor may it get a share from a client
        that reads 0 as 1: the weights of the others are multiples of `WEIGHT_UNIT`. Of records that do not fit into
        `octets`, only the first is made.
        """
        best = min((self._priority(i) for i in usable), default=NEAR_PRIORITY)
        placed = [
            (instance, self._priority(instance), min(instance.weight * WEIGHT_UNIT, _MAX_WEIGHT)) for instance in usable
        ]
        placed += [(instance, max(best, self._priority(instance)), 0) for instance in leaving]
        if not placed:
            return self._shapes.nothing(Rcode.NOERROR)
        answers: list[Record] = []
        targets: list[tuple[Instance, Name]] = []
        ttl_s = self._shapes.ttl_s()
        for instance, priority, weight in placed:
            if octets < 0:
                targets = []  # addresses are the first to be left out
                break
            target = self._target(instance)
            data = record_data.srv_data(priority, weight, instance.port, target)
            answers.append(Record(None, Type.SRV, ttl_s, data))
            targets.append((instance, target))
            octets -= _BEFORE_DATA + len(data)
        additional: list[Record] = []
        for instance, target in targets:
            additional += self._addresses_of(instance, target, ttl_s)
            if len(additional) * _MIN_RECORD > octets:
                break
        return Answer(
            Rcode.NOERROR, answers=tuple(answers), additional=tuple(additional), extended_error=self._shapes.age()
        )

    def _addresses_of(self, instance: Instance, target: Name, ttl_s: int) -> list[Record]:
        return [
            Record(target, type_, ttl_s, address)
            for type_ in (Type.A, Type.AAAA)
            for address in addresses([instance], type_)
        ]

    # -- DNS-SD (RFC 6763)

    def _listed(self, query: Query, name: ServiceName, instances: Sequence[Instance], most: int) -> Answer:
        """Return the names of the instances of a service, and, of a few, what a client asks next (section 12.1)."""
        below = (b"_" + name.label.encode(), name.transport, *self._apex)
        owners = [(instance_label(i), *below) for i in instances[:most]]
        answer = self._shapes.of_types(query, {Type.PTR: list(map(record_data.name_data, owners))})
        additional: list[Record] = []
        if len(instances) <= MOST_DESCRIBED:
            for owner, instance in zip(owners, instances, strict=True):
                target = self._target(instance)
                for type_, data in self._description(instance, target).items():
                    additional.append(Record(owner, type_, self._shapes.ttl_s(), data[0]))
                additional += self._addresses_of(instance, target, self._shapes.ttl_s())
        return msgspec.structs.replace(answer, additional=tuple(additional))

    def _listed_instance(self, query: Query, name: ListedInstance) -> CacheableAnswer:
        wanted = name.instance.encode()
        instances = self._instances(name.label, transport=name.transport)
        instance = next((i for i in instances if instance_label(i) == wanted), None)
        if instance is None:
            return self._absent(name)
        target = self._target(instance)
        answer = self._shapes.of_types(query, self._description(instance, target))
        if query.qtype == Type.SRV:
            answer = msgspec.structs.replace(
                answer, additional=tuple(self._addresses_of(instance, target, self._shapes.ttl_s()))
            )
        return CacheableAnswer(answer, label=name.label)

    def _description(self, instance: Instance, target: Name) -> dict[Type, list[bytes]]:
        """Return the data of the one SRV and the one TXT record of an instance (sections 5 and 6)."""
        return {
            Type.SRV: [record_data.srv_data(0, 0, instance.port, target)],
            Type.TXT: [txt_strings.data_of(instance)],
        }

    def _priority(self, instance: Instance) -> int:
        return FAR_PRIORITY if self._is_far(instance) else NEAR_PRIORITY

    def _is_far(self, instance: Instance) -> bool:
        return bool(self._settings.local_zone) and instance.zone != self._settings.local_zone

    def _target(self, instance: Instance) -> Name:
        """Return a name that has the instance's addresses (never an alias, RFC 2782)."""
        host = record_data.name_of(instance.host)
        if any(ip_address(ip) for ip in ips_of(instance)) or not fits(host):
            return (INSTANCE_LABEL + short_id(instance.service_name, instance.instance_id).encode(), *self._apex)
        # It could not be resolved at registration. The client's resolver may be able to, perhaps even
        # a name of one label (a container's); without a target the instance would not appear at all.
        return host
