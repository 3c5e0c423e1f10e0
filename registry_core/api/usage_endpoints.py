"""The rows of the table of endpoints about agents and what they asked for. It contains no code."""

from __future__ import annotations

from typing import Final

from registry_core.api.endpoint import Endpoint, Parameter
from registry_core.security.rights import Right
from registry_core.usage.ledger import ReplicaPart
from registry_core.usage.views import AgentsView, UsageView

USAGE_ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/agents",
        name="agents",
        right=Right.OBSERVE,
        summary="The agents of all replicas: release, zone, services, how fresh their views are, and who is silent",
        answers={200: AgentsView},
        errors=(503,),
    ),
    Endpoint(
        method="GET",
        path="/usage",
        name="usage",
        right=Right.OBSERVE,
        summary="The consumers of each service, and how certain it is that there are no others: over all replicas",
        query=(
            Parameter("service", str, "only this service, registered or not"),
            Parameter("within", float, "verdicts are about so many seconds; if missing, about all that was observed"),
        ),
        answers={200: UsageView},
        errors=(400, 503),
    ),
    Endpoint(
        method="GET",
        path="/agents/part",
        name="agents_part",
        right=Right.OBSERVE,
        summary="What this replica alone knows of agents, for its peers, who add it up",
        query=(Parameter("usage", bool, "also what each agent asked for"),),
        answers={200: ReplicaPart},
        errors=(400,),
    ),
)
