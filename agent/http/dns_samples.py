"""The metrics of DNS: queries and answers, questions for resolvers, and the agent's two ports. It only reads. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from agent.http.samples import CounterSample, GaugeSample, HistogramSample, Sample, by_reason, by_word, counter, gauge
from dns.forwarding import OUTCOMES, Forwarder
from dns.responder import Responder
from dns.tcp import TcpServer
from dns.udp import UdpServer
from dns.upstreams import ResolverState
from registry_core.api.connections import Connections


def dns_samples(dns: Responder) -> Iterable[Sample]:
    """Return the metrics of the DNS face, whatever the transport."""
    queries: dict[tuple[str, ...], float] = dict(dns.counters.items())
    yield CounterSample("agent_dns_queries", "DNS queries, by type and rcode.", ("type", "rcode"), queries)
    yield counter("agent_dns_malformed", "DNS queries that could not be parsed.", dns.malformed)
    yield counter("agent_dns_prohibited", "DNS queries from networks that are not allowed.", dns.prohibited)
    yield counter("agent_dns_limited", "DNS answers over the rate limit.", dns.limited)
    yield counter("agent_dns_failures", "DNS queries that hit an internal error.", dns.failures)
    shed: dict[tuple[str, ...], float] = {("no_room",): dns.work.shed, ("too_late",): dns.work.late}
    yield CounterSample("agent_dns_not_done", "Work for answers that was not done, by reason.", ("reason",), shed)
    yield gauge("agent_dns_work_waiting", "Pieces of work for answers that wait for their turn.", dns.work.waiting)
    yield gauge("agent_dns_ready_answers", "Ready DNS answers.", dns.cache_entries)
    yield gauge("agent_dns_ready_answers_bytes", "Memory of ready DNS answers.", dns.cache_bytes)


def port_samples(udp: UdpServer, tcp: TcpServer, http: Connections) -> Iterable[Sample]:
    """Return the metrics of the sockets of DNS, and of the localhost port."""
    received: dict[tuple[str, ...], float] = {("udp",): udp.received, ("tcp",): tcp.received}
    yield CounterSample("agent_dns_received", "DNS messages received, by transport.", ("transport",), received)
    yield counter("agent_dns_dropped", "DNS answers that could not be sent.", udp.dropped)
    yield counter("agent_dns_too_late", "DNS datagrams that had waited too long in the socket.", udp.too_late)
    yield gauge("agent_dns_tcp_connections", "Open connections for DNS.", tcp.connections)
    yield CounterSample(
        "agent_dns_tcp_connections_closed",
        "Connections for DNS that were closed or not accepted for want of room, by reason.",
        ("reason",),
        by_reason(tcp.closed),
    )
    yield gauge("agent_http_connections", "Open connections of the localhost port.", len(http.open))
    yield CounterSample(
        "agent_http_connections_closed",
        "Connections that were closed or not accepted for a limit, by reason.",
        ("reason",),
        by_reason(http.closed),
    )


def forwarding_samples(forwarder: Forwarder) -> Iterable[Sample]:
    """Return the metrics of questions for other zones, and of each resolver: those configured, or of resolv.conf."""
    report = forwarder.report()
    yield CounterSample(
        "agent_dns_forwarded",
        "Queries outside the zone, by result.",
        ("result",),
        by_word({word: forwarder.counts[word] for word in OUTCOMES}),
    )
    yield gauge("agent_dns_forwarding_in_flight", "Queries to resolvers in flight.", report.in_flight)
    yield gauge("agent_dns_forwarding_cached", "Cached answers of resolvers.", report.cached)
    states: dict[tuple[str, ...], float] = {
        (one.server, state.value): float(one.state is state) for one in report.upstreams for state in ResolverState
    }
    outcomes: dict[tuple[str, ...], float] = {
        (one.server, outcome): float(count)
        for one in report.upstreams
        for outcome, count in (("answered", one.answered), ("failed", one.failed), ("looped", one.loops))
    }
    yield GaugeSample(
        "agent_dns_upstream_state", "1 for the current state of a resolver.", ("upstream", "state"), states
    )
    yield CounterSample(
        "agent_dns_upstream_outcomes", "Queries to a resolver, by outcome.", ("upstream", "outcome"), outcomes
    )
    yield HistogramSample(
        "agent_dns_upstream_duration_seconds",
        "How long a resolver took for its answers.",
        ("upstream",),
        {(server,): durations for server, durations in forwarder.durations().items()},
    )
