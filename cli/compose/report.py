"""Formats the audit of a fleet as text, as JSON and as a graph for Graphviz.

Pure: it returns lines and prints nothing. docs/reference/compose-findings.md describes the JSON.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from cli.compose.audit import Audit
from cli.compose.findings import AuditFinding, AuditSeverity
from cli.compose.verdicts import Judged
from cli.plurals import counted
from cli.terminal import printable

FORMAT: Final = 1
_WRONG: Final = frozenset(
    {"published-port", "wrong-port", "port-out-of-range", "unknown-target", "other-spelling", "no-shared-network"}
)


def is_wrong(judged: Judged) -> bool:
    """Return whether an address leads nowhere."""
    return judged.code in _WRONG


def text_of(audit: Audit) -> Iterator[str]:
    """Return the report for people: one finding per line, then the dependencies, then the counts."""
    for finding in audit.findings:
        yield _line(finding)
    if audit.findings:
        yield ""
    yield from _graph_text(audit)
    yield from _counts_text(audit)


def _line(finding: AuditFinding) -> str:
    where = " ".join(word for word in (finding.service, finding.variable) if word)
    evidence = f" ({finding.evidence})" if finding.evidence else ""
    what = f"{finding.message}{evidence}; {finding.cure} [{finding.code}]"
    text = f"{finding.place}: {finding.severity.value}: {where}: {what}"
    return printable(text)


def _graph_text(audit: Audit) -> Iterator[str]:
    yield "Dependencies (* only by depends_on):"
    needs: dict[str, list[str]] = {}
    for edge in audit.graph.edges:
        needs.setdefault(edge.consumer, []).append(edge.target + ("" if edge.via else "*"))
    for consumer, targets in needs.items():
        yield printable(f"  {consumer} -> ") + ", ".join(printable(target) for target in targets)
    if not needs:
        yield "  none"
    for group in audit.graph.cycles():
        yield "  in a circle: " + ", ".join(printable(name) for name in group)
    yield ""


def _counts_text(audit: Audit) -> Iterator[str]:
    counts = counts_of(audit)
    yield (
        f"{counted(counts['services'], 'service')}; "
        f"{counted(counts['addresses'], 'hard-coded address', 'hard-coded addresses')}, "
        f"{counts['wrong_addresses']} of which lead nowhere."
    )
    yield f"Over HTTP: {counts['http_addresses']}, {counts['wrong_http_addresses']} of which lead nowhere."
    if counts["discovered_addresses"]:
        found, wrong = counts["discovered_addresses"], counts["wrong_discovered_addresses"]
        yield f"Discovered names: {found}, {wrong} of which have a wrong port."
    by_code = Counter(f.code for f in audit.findings)
    for severity in AuditSeverity:
        codes = [f"{n} {code}" for code, n in by_code.most_common() if _severity(audit, code) is severity]
        if codes:
            yield f"{audit.count(severity)} {severity.value}: {', '.join(codes)}"


def _severity(audit: Audit, code: str) -> AuditSeverity:
    return next(f.severity for f in audit.findings if f.code == code)


def counts_of(audit: Audit) -> dict[str, int]:
    """Return the counts at the end of a report."""
    hard_coded = [judged for judged in audit.addresses if judged.is_hard_coded]
    discovered = [judged for judged in audit.addresses if judged.is_discovered]
    http = [judged for judged in hard_coded if judged.address.is_http]
    return {
        "services": len(audit.project.services),
        "addresses": len(hard_coded),
        "wrong_addresses": sum(is_wrong(judged) for judged in hard_coded),
        "http_addresses": len(http),
        "wrong_http_addresses": sum(is_wrong(judged) for judged in http),
        "discovered_addresses": len(discovered),
        "wrong_discovered_addresses": sum(is_wrong(judged) for judged in discovered),
        **{f"{severity.value}s": audit.count(severity) for severity in AuditSeverity},
    }


def json_of(audit: Audit) -> dict[str, Any]:
    """Return the report for programs."""
    return {
        "format": FORMAT,
        "project": audit.project.name,
        "files": list(audit.project.files),
        "counts": counts_of(audit),
        "findings": [
            {
                "code": f.code,
                "severity": f.severity.value,
                "service": f.service or None,
                "variable": f.variable,
                "file": f.place.file,
                "line": f.place.line,
                "message": f.message,
                "cure": f.cure,
                "evidence": f.evidence or None,
                "right": f.right,
                "target": f.target,
            }
            for f in audit.findings
        ],
        "addresses": [
            {
                "service": a.service,
                "variable": a.address.variable,
                "file": a.address.place.file,
                "line": a.address.place.line,
                "address": a.address.written,
                "scheme": a.address.scheme or None,
                "host": a.address.host,
                "port": a.address.port,
                "meant": a.meant.value,
                "target": a.target,
                "listens": list(a.listens),
                "right_port": a.right,
                "code": a.code,
                "evidence": a.evidence or None,
                "identity": a.identity or None,
                "discovered": a.is_discovered,
            }
            for a in audit.addresses
        ],
        "graph": {
            "edges": [
                {"from": e.consumer, "to": e.target, "via": list(e.via), "depends_on": e.depends_on}
                for e in audit.graph.edges
            ],
            "outside": [{"from": consumer, "host": host} for consumer, host in audit.graph.outside],
            "cycles": [list(group) for group in audit.graph.cycles()],
        },
    }


def dot_of(audit: Audit) -> Iterator[str]:
    """Return the graph in DOT: an edge is red for a wrong address, and dashed when only depends_on declares it."""
    wrong = {(a.service, a.target) for a in audit.addresses if is_wrong(a)}
    yield "digraph fleet {"
    yield "  rankdir=LR; node [shape=box];"
    for node in audit.graph.nodes:
        yield f"  {_quoted(node)};"
    for host in dict.fromkeys(host for _, host in audit.graph.outside):
        yield f"  {_quoted('outside: ' + host)} [label={_quoted(host)}, style=dashed];"
    for edge in audit.graph.edges:
        styles = ["color=red"] if (edge.consumer, edge.target) in wrong else []
        styles += [] if edge.via else ["style=dashed"]
        shown = f" [{', '.join(styles)}]" if styles else ""
        yield f"  {_quoted(edge.consumer)} -> {_quoted(edge.target)}{shown};"
    for consumer, host in audit.graph.outside:
        yield f"  {_quoted(consumer)} -> {_quoted('outside: ' + host)};"
    yield "}"


def _quoted(name: str) -> str:
    escaped = printable(name).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
