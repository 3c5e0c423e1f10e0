"""Targets for Prometheus' HTTP service discovery: one group for each instance, with its fields as labels. Pure.

https://prometheus.io/docs/prometheus/latest/http_sd/ has the format. Labels that begin with `__meta_` are for
relabelling, and are dropped afterwards. An instance's metadata may say where its metrics are: `prometheus.port`,
`prometheus.path` and `prometheus.scheme`; a value there that makes no sense is ignored, and remains visible as a label.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from registry_core.domain.host_port import host_port
from registry_core.domain.records import Instance, Protocol
from registry_core.domain.registration import MAX_PORT

META: Final = "__meta_vertice_"
PORT_KEY: Final = "prometheus.port"
PATH_KEY: Final = "prometheus.path"
SCHEME_KEY: Final = "prometheus.scheme"
SCHEMES: Final = ("http", "https")
# Of one instance; metadata may have more entries than make sense as labels.
MAX_METADATA_LABELS: Final = 64
_NO_LABEL: Final = re.compile(r"[^a-zA-Z0-9_]", re.ASCII)
# Prometheus joins it with the address: neither a query nor a fragment, which a metrics path cannot have there.
_PATH: Final = re.compile(r"/[^\s?#]*")


class TargetGroup(msgspec.Struct, frozen=True):
    """What Prometheus scrapes: `host:port`, and the labels of these targets."""

    targets: tuple[str, ...]
    labels: dict[str, str]


def target_group(instance: Instance) -> TargetGroup:
    """Return the target of one instance.

    Its address is the first one of its host, or else the host itself, which Prometheus then has to resolve.
    """
    metadata = instance.metadata
    address = instance.addresses[0] if instance.addresses else instance.host
    labels = {
        f"{META}service": instance.service_name,
        f"{META}instance_id": instance.instance_id,
        f"{META}host": instance.host,
        f"{META}address": address,
        f"{META}port": str(instance.port),
        f"{META}protocol": instance.protocol.value,
        f"{META}status": str(instance.status),
        f"{META}suspect": "true" if instance.suspect else "false",
        f"{META}zone": instance.zone,
        f"{META}version": instance.version,
        f"{META}weight": str(instance.weight),
        f"{META}health_endpoint": instance.health_endpoint,
        # With commas around each, so that `.*,canary,.*` matches a tag as a whole.
        f"{META}tags": f",{','.join(instance.tags)}," if instance.tags else "",
    }
    for name, value in _metadata_labels(metadata):
        labels.setdefault(name, value)
    scheme = metadata.get(SCHEME_KEY)
    if scheme in SCHEMES:
        labels["__scheme__"] = scheme
    elif instance.protocol is Protocol.HTTPS:
        labels["__scheme__"] = Protocol.HTTPS.value
    path = metadata.get(PATH_KEY)
    if isinstance(path, str) and _PATH.fullmatch(path):
        labels["__metrics_path__"] = path
    return TargetGroup((host_port(address, _port(metadata.get(PORT_KEY), instance.port)),), labels)


def _port(given: Any, otherwise: int) -> int:
    text = str(given)  # metadata comes from environments, too, where a number is a text
    is_number = not isinstance(given, bool) and text.isascii() and text.isdigit() and len(text) <= len(str(MAX_PORT))
    return int(text) if is_number and 0 < int(text) <= MAX_PORT else otherwise


def _metadata_labels(metadata: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the labels of plain values; of two keys that become one label, the first counts."""
    count = 0
    for key, value in metadata.items():
        if count == MAX_METADATA_LABELS:
            return
        text = _text(value)
        if text is not None:
            count += 1
            yield f"{META}metadata_{_NO_LABEL.sub('_', key)}", text


def _text(value: Any) -> str | None:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case _:  # lists and tables are no labels
            return None
