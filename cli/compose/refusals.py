"""Finds what Compose refuses in descriptions that can be read all the same.

Pure. Each fault is reported with its place and field, and the rest of the file stays usable: an audit of a file that
Compose refuses still tells which addresses in it are wrong.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Final

from cli.compose.errors import ComposeError, Place
from cli.compose.merge import PAIRS
from cli.compose.tree import Mapping, Node, Scalar, Sequence, is_null

# The codes of what Compose refuses, here and elsewhere, although all the rest of the file can be judged.
REFUSED: Final = frozenset({"shape", "undefined-network", "network-mode", "misspelt-key", "command", "project-name"})
TOP_KEYS: Final = frozenset(
    {"configs", "include", "jobs", "models", "name", "networks", "secrets", "services", "version", "volumes"}
)
SERVICE_KEYS: Final = frozenset(
    """
    annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command configs container_name
    cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares cpus cpuset
    credential_spec depends_on deploy develop device_cgroup_rules devices dns dns_opt dns_search domainname
    entrypoint env_file environment expose extends external_links extra_hosts gpus group_add healthcheck
    hostname image init ipc isolation label_file labels links logging mac_address mem_limit mem_reservation
    mem_swappiness memswap_limit models network_mode networks oom_kill_disable oom_score_adj pid pids_limit
    platform ports post_start pre_start pre_stop privileged profiles provider pull_policy pull_refresh_after
    read_only restart runtime scale secrets security_opt shm_size stdin_open stop_grace_period stop_signal
    storage_opt sysctls tmpfs tty ulimits umask use_api_socket user userns_mode uts volumes volumes_from
    working_dir
    """.split()  # noqa: SIM905 - a hundred words, which a list would give a line each
)
# Lists of texts; the first two may be maps as well.
_TEXTS: Final = frozenset({"depends_on", "networks", "links", "external_links", "profiles"})
# How alike two keys are when one is the other, misspelt.
_ALIKE: Final = 0.8

ReportError = Callable[[ComposeError], None]


def check_document(root: Mapping, report: ReportError) -> None:
    """Report the keys of a document that Compose does not know, and lists and maps with what cannot be in them."""
    _keys(root, TOP_KEYS, "", None, report)
    services = root.get("services")
    for name, entry in services.entries.items() if isinstance(services, Mapping) else ():
        if isinstance(entry.node, Mapping):
            _keys(entry.node, SERVICE_KEYS, f"services.{name}.", name, report)
            for key in sorted((PAIRS | _TEXTS) & entry.node.entries.keys()):
                _values(entry.node.entries[key].node, key, name, report)
        elif not is_null(entry.node):
            kind = "a list" if isinstance(entry.node, Sequence) else "a text"
            reason, example = f"the service is {kind}, not a map; Compose refuses that", f"{name}: {{image: {name}}}"
            field = f"services.{name}"
            report(ComposeError(reason, code="shape", place=entry.place, field=field, service=name, example=example))


def _keys(node: Mapping, known: frozenset[str], prefix: str, service: str | None, report: ReportError) -> None:
    for key, entry in node.entries.items():
        if key in known or key.startswith("x-"):
            continue
        alike = difflib.get_close_matches(key, known, 1, _ALIKE)
        reason = f"Compose knows no key {key!r}" + (f"; is {alike[0]!r} meant?" if alike else "")
        code = "misspelt-key" if alike else "unknown-key"
        example = f"{alike[0]}: ..." if alike else f"x-{key}: ..."
        report(ComposeError(reason, code=code, place=entry.place, field=prefix + key, service=service, example=example))


def _values(node: Node, key: str, service: str, report: ReportError) -> None:
    """Report a map or a list where a text belongs: Compose drops nothing, it refuses the file."""
    field = f"services.{service}.{key}"

    def tell(where: str, place: Place, what: str) -> None:
        reason = f"{key}{where} is {what}; Compose refuses that"
        example = f"{key}: {{NAME: value}}" if key in PAIRS else f"{key}: [name]"
        report(ComposeError(reason, code="shape", place=place, field=field + where, service=service, example=example))

    if isinstance(node, Sequence):
        for at, item in enumerate(node.items):
            if not isinstance(item, Scalar) or item.null:
                tell(f"[{at}]", item.place, f"{_kind(item)}, not {'NAME=value' if key in PAIRS else 'a name'}")
    elif key not in PAIRS:
        return
    elif isinstance(node, Mapping):
        for name, entry in node.entries.items():
            if not isinstance(entry.node, Scalar):
                tell(f".{name}", entry.place, f"{_kind(entry.node)}, not a value")
    elif not is_null(node):
        tell("", node.place, "a text, not a map or a list")


def _kind(node: Node) -> str:
    return "a map" if isinstance(node, Mapping) else "a list" if isinstance(node, Sequence) else "nothing"


def check_networks(service: str, body: Mapping, known: frozenset[str], report: ReportError) -> None:
    """Report networks of a service that the project does not define, and `network_mode` beside networks."""
    given = body.get("networks")
    if not isinstance(given, Mapping):
        return

    def tell(reason: str, code: str, place: Place, key: str, example: str) -> None:
        field = f"services.{service}.{key}"
        report(ComposeError(reason, code=code, place=place, field=field, service=service, example=example))

    mode = body.get("network_mode")
    if isinstance(mode, Scalar) and mode.text and given.entries:
        reason = "it has `network_mode` and `networks`; Compose refuses both together"
        tell(reason, "network-mode", body.place_of("network_mode"), "network_mode", "networks: [front]")
    for name, entry in given.entries.items():
        if name not in known:
            reason = f"it is in the network {name!r}, which the file does not define; Compose refuses that"
            tell(reason, "undefined-network", entry.place, "networks", f"networks: {{{name}: }}")
