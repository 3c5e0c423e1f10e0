"""What an answer will cost, known before it is made: microseconds on one core, in round numbers. Pure.

An estimate by what makes answers dear: the instances that have to be selected from and put in order, and the records
that have to be written. It is compared and added up, and never shown as a time.
"""

from __future__ import annotations

from typing import Final

from dns.codec import MIN_UDP_PAYLOAD, Name, Query, Type, read
from dns.zone_names import ListedInstance, ServiceName, ServiceTypes, TransportOf, zone_name
from registry_core.ports.local_view import LocalView

_ANY_ANSWER: Final = 30
# Each instance of a service, whether it is named or not; each name in the list of all services.
_INSTANCE: Final = 1.0
_LISTED: Final = 0.3
# Each record.
_RECORD: Final[dict[int, float]] = {Type.SRV: 6.0, Type.PTR: 6.0}
_OTHER_RECORD: Final = 1.5
# Attributes of all instances are compared, to be named once.
_TEXT: Final = 2.0
# The octets of the shortest record in an answer.
_SHORTEST: Final = 16
# Any answer that is not ready, before more is known of it.
ANSWER_US: Final = 100
# A question to a resolver: tasks and sockets; over TCP again.
ASK_US: Final = 300
# An octet of a resolver's reply that is read.
OCTET_US: Final = 0.1


class AnswerCosts:
    """Estimates what answers from `view` cost."""

    def __init__(self, view: LocalView, apex: Name) -> None:
        self._view = view
        self._apex = apex

    def of_message(self, message: bytes) -> int:
        """Return the cost of an answer to a datagram, 0 if it is no question."""
        query = read(message)
        return self.of(query, query.edns.payload if query.edns else MIN_UDP_PAYLOAD) if isinstance(query, Query) else 0

    def of(self, query: Query, size: int) -> int:
        """Return the cost of an answer to `query` of at most `size` octets; that of a foreign name is not in it."""
        depth = len(query.name) - len(self._apex)
        if depth <= 0:
            return _ANY_ANSWER
        name = tuple(label.lower() for label in query.name)
        if name[depth:] != self._apex:
            return _ANY_ANSWER
        most = size // _SHORTEST + 1
        match zone_name(name[:depth]):
            case ServiceTypes():
                count = len(self._view.labels())
                return int(_ANY_ANSWER + count * _LISTED + min(count, most) * _RECORD[Type.PTR])
            case ServiceName(label=label) | TransportOf(label=label) | ListedInstance(label=label):
                found = self._view.find(label)
                count = len(found.instances) if found is not None else 0
                each = _INSTANCE + (_TEXT if query.qtype == Type.TXT else 0.0)
                return int(_ANY_ANSWER + count * each + min(count, most) * _RECORD.get(query.qtype, _OTHER_RECORD))
            case _:
                return _ANY_ANSWER
