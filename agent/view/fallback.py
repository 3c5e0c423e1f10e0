"""Addresses of services from the environment and from a file.

These are the last two steps of the fallback, used only for a service that the view lacks and cannot rule out.
This module does no network I/O: its owner resolves the host names.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from agent.settings.toml_text import read_toml
from registry_core.domain.catalog import Catalog, Lived
from registry_core.domain.host_port import host_port
from registry_core.domain.names import check_host, check_known_name, ip_address, label_of
from registry_core.domain.records import Instance, Protocol, Service, default_instance_id
from registry_core.errors import SettingsError, ValidationError

MAX_FILE_BYTES: Final = 4 * 1024 * 1024
MAX_ENTRIES: Final = 10_000
ENVIRONMENT: Final = "environment"
FILE: Final = "file"
FILE_EXAMPLE: Final = 'billing = ["http://10.0.0.5:8034", "10.0.0.6:8034"]'
_PORTS: Final = {Protocol.HTTP: 80, Protocol.HTTPS: 443}
# Settings of this program and of others around it, not addresses of services.
_NOT_SERVICES: Final = re.compile(r"(AGENT|SERVICE|REGISTRY|VERTICE|HTTP_PROXY|HTTPS_PROXY|NO_PROXY)(_.*)?", re.ASCII)


class Fallback:
    """Entries by service; an earlier source hides a later one."""

    def __init__(self, *sources: Iterable[Instance]) -> None:
        self._catalog = Catalog(sockets=False)
        for source in sources:
            known = set(self._catalog.labels())
            self._catalog.merge(Lived(i, 0.0) for i in source if i.key.label not in known)

    def __len__(self) -> int:
        """The number of entries."""
        return len(self._catalog)

    def labels(self) -> Iterable[str]:
        """Return the labels of all entries."""
        return self._catalog.labels()

    def find(self, name: str) -> Service | None:
        """Return the entry of a service, or None; `_` and `-` are the same."""
        return self._catalog.find(name)

    def by_short(self, short: str) -> Instance | None:
        """Return the entry whose short id is `short`, or None."""
        return self._catalog.by_short(short)

    def hosts(self) -> set[str]:
        """Return the host names to resolve."""
        return {instance.host for instance in self._catalog if ip_address(instance.host) is None}

    def located(self, addresses: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
        """Set the addresses of host names; one without any keeps its old ones. Return the labels that changed."""
        found = [
            msgspec.structs.replace(instance, addresses=addresses[instance.host])
            for instance in self._catalog
            if addresses.get(instance.host)
        ]
        return frozenset(self._catalog.merge(Lived(instance, 0.0) for instance in found))


def of_environment(environment: Mapping[str, str]) -> Iterator[Instance]:
    """Yield the services of `<SERVICE>_URL`, or else of `<SERVICE>_HOST` and `<SERVICE>_PORT`.

    Other variables are skipped: an environment holds many things that are not addresses.
    """
    for variable, value in sorted(environment.items()):
        stem, _, kind = variable.rpartition("_")
        if not stem or _NOT_SERVICES.fullmatch(stem):
            continue
        if kind == "HOST" and f"{stem}_URL" not in environment:
            address = host_port(value, environment.get(f"{stem}_PORT", ""))
        elif kind == "URL":
            address = value
        else:
            continue
        with contextlib.suppress(ValidationError):
            yield _entry(stem.lower(), address, ENVIRONMENT)


def of_file(path: Path) -> Iterator[Instance]:
    """Yield the services of a TOML file: for each one a `host:port` or URL, or a list of them.

    Raises SettingsError, in one line that names the file and the service, when a value is invalid.
    """
    services = read_toml(path, most_bytes=MAX_FILE_BYTES, example=FILE_EXAMPLE)
    count = 0
    spellings: dict[str, str] = {}
    for name, value in services.items():
        spelling = spellings.setdefault(label_of(name), name)
        if spelling != name:
            raise SettingsError(f"{path}: {name}: {spelling} is listed, too, and the two are one name in DNS")
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise SettingsError(f"{path}: {name}: it must be text, or a list of texts (example: {FILE_EXAMPLE})")
        for text in texts:
            count += 1
            if count > MAX_ENTRIES:
                raise SettingsError(f"{path}: it has more than {MAX_ENTRIES} entries")
            try:
                yield _entry(name, text, FILE)
            except ValidationError as error:
                raise SettingsError(f"{path}: {name}: {error.message} (example: {FILE_EXAMPLE})") from None


def _entry(name: str, text: str, source: str) -> Instance:
    """Return the instance at a URL or `host:port`. Raises ValidationError when `text` is neither."""
    check_known_name(name)
    is_url = "://" in text
    try:
        url = urlsplit(text.strip() if is_url else f"http://{text.strip()}")
        protocol = Protocol(url.scheme)
        port = url.port if url.port is not None or not is_url else _PORTS.get(protocol)
    except ValueError:
        port = None
    if not port:
        raise ValidationError(f"{text!r} is neither host:port nor a URL with a port")
    host = check_host(url.hostname or "")
    address = ip_address(host)
    return Instance(
        service_name=name,
        instance_id=default_instance_id(host, port, protocol),
        host=host,
        port=port,
        protocol=protocol,
        addresses=() if address is None else (address.compressed,),
        metadata={"source": source},
    )
