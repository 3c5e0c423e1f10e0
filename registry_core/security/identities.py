"""Identities: who sends a request, in which role, and how that was proven. Pure."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from registry_core.domain.names import label_of


class Role(StrEnum):
    """What an identity is; `rights.py` says what each may do."""

    ANYONE = "anyone"  # no credential
    READER = "reader"
    SERVICE = "service"  # one service, for itself
    FOLLOWER = "follower"  # a registry that follows this one
    REPLICA = "replica"  # another replica of this deployment
    LOCAL = "local"  # a program of an agent's own machine, at that agent
    OPERATOR = "operator"  # also the agents of a fleet that shares one secret


class Proof(StrEnum):
    """How an identity was proven."""

    NONE = "none"
    TOKEN = "token"  # noqa: S105 - a word of the audit: the shared secret itself, in X-Registry-Token
    API_KEY = "api-key"  # the key of one service, in X-Registry-API-Key
    READ_KEY = "read-key"
    SIGNATURE = "signature"
    CERTIFICATE = "certificate"  # mutual TLS
    LOOPBACK = "loopback"  # it connects from the agent's own machine, and no proxy passed it on
    OFF = "off"  # this registry asks for no credentials


class Identity(msgspec.Struct, frozen=True):
    """The sender of a request. `service` is set for the role SERVICE alone; `key_id` names the key that was used."""

    role: Role = Role.ANYONE
    proof: Proof = Proof.NONE
    service: str = ""
    key_id: str = ""

    @property
    def name(self) -> str:
        """The identity as logs and the audit name it: `operator`, `service:ip-intel`."""
        return f"{self.role}:{label_of(self.service)}" if self.service else str(self.role)


ANYONE = Identity()
# A registry that asks for no credentials lets every sender do everything.
EVERYBODY = Identity(Role.OPERATOR, Proof.OFF)
