"""Builds what one replica needs to know its callers: keys, nonces, the policy on plain forms, the files of secrets."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import structlog

from registry_core.api.auth import Authenticator, Certified
from registry_core.api.health_schemas import SecretsHealth
from registry_core.api.plain_forms import PlainPolicy
from registry_core.ports.clock import Clock
from registry_core.replica_settings import ReplicaSettings
from registry_core.security.access_settings import PLAIN_AUTH, PlainForms
from registry_core.security.keyring import Credentials, Keyring
from registry_core.security.nonces import Nonces
from registry_core.security.secret_files import SecretFiles
from registry_core.telemetry.metrics import ReplicaMetrics

# About when this process started, on the monotonic clock: what it has accepted, it has accepted since.
_BEGAN: Final = time.monotonic()

log = structlog.get_logger()


class ReplicaAccess:
    """The credentials of one replica, the only one of its process."""

    def __init__(self, settings: ReplicaSettings, clock: Clock, *, store_lets_once: bool, certified: Certified) -> None:
        access = settings.access
        credentials = Credentials(settings.secrets, access.read_keys, access.issued)
        self._settings = settings
        self.keyring = Keyring(credentials)
        self.plain = PlainPolicy(access.plain, clock)
        self.files = SecretFiles(access, credentials, self.keyring)
        self.nonces = Nonces(clock.wall() - (time.monotonic() - _BEGAN))
        self.authenticator = Authenticator(
            self.keyring,
            self.nonces,
            self.plain,
            clock,
            is_open=self.is_open,
            reads_are_open=access.reads_are_open,
            store_lets_once=store_lets_once,
            certified=certified,
        )

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked for a credential. A file of keys that becomes empty does not open a registry."""
        return not self._settings.secrets and not self._settings.access.keys_file

    def report(self) -> SecretsHealth:
        """Return what `/health` says of it."""
        return SecretsHealth(
            plain=self.plain.forms.value,
            plain_exposed=self.plain.exposed,
            problem=self.files.problem,
            remembered_signatures=len(self.nonces),
        )

    def add_metrics(self, metrics: ReplicaMetrics, refused: Mapping[str, float]) -> None:
        """Add the counts to `metrics`; `refused` has those of all refusals, by the name of the error."""
        metrics.counters(
            "registry_refusals", "Requests refused for who sends them, or how often.", "reason", lambda: refused
        )
        metrics.counters(
            "registry_credentials_accepted",
            "Requests with a valid credential, by its form.",
            "form",
            lambda: self.plain.accepted,
        )
        metrics.gauge(
            "registry_remembered_signatures",
            "Signatures that this replica remembers, so that none is accepted twice.",
            lambda: len(self.nonces),
        )
        metrics.counters(
            "registry_plain_secrets",
            "Secrets that another machine has sent as they are over plain HTTP.",
            "answer",
            lambda: {"accepted": self.plain.exposed, "refused": self.plain.refused},
        )

    def warn(self) -> None:
        """Log what an operator should know at the start."""
        where, has_tls = self._settings.listen, self._settings.tls.pair is not None
        in_plain_sight = not where.is_loopback and not has_tls
        if in_plain_sight and not self.is_open and self._settings.access.plain is PlainForms.WARN:
            log.warning(
                "plain_secrets_are_accepted",
                listen=str(where),
                check=f"{PLAIN_AUTH.name}: `off` once every sender signs its requests or uses TLS (metric "
                "registry_plain_secrets), or `on` to keep accepting them; the next release has `off` as its default",
            )
