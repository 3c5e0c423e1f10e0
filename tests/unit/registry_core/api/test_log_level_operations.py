"""The right to change the levels of a replica's log lines."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from registry_core.api.auth import Caller
from registry_core.api.calls import Call, WriteCall
from registry_core.api.log_level_operations import LogLevelOperations
from registry_core.errors import VerticeError
from registry_core.security.identities import Identity, Proof, Role
from registry_core.telemetry.log_levels import LogLevels
from registry_core.telemetry.logs import live_levels

OPERATOR = Caller(Identity(Role.OPERATOR, Proof.SIGNATURE, "", "shared"))
SERVICE = Caller(Identity(Role.SERVICE, Proof.SIGNATURE, "ip_intel", "k1"))
QUERY = {"component": "tls", "level": "debug"}


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    root = logging.getLogger().level
    live_levels.configure(LogLevels("info"))
    yield
    live_levels.configure(LogLevels())
    logging.getLogger().setLevel(root)


async def test_an_operator_may() -> None:
    operations = LogLevelOperations()
    changed = await operations.set_log_level(WriteCall(caller=OPERATOR, body=None, query=QUERY))
    assert changed.levels == operations.log_level(Call()).levels == "info,tls=debug"
    assert (await operations.reset_log_level(WriteCall(caller=OPERATOR, body=None))).levels == "info"


async def test_a_service_may_not() -> None:
    operations = LogLevelOperations()
    with pytest.raises(VerticeError):
        await operations.set_log_level(WriteCall(caller=SERVICE, body=None, query=QUERY))
    with pytest.raises(VerticeError):
        await operations.reset_log_level(WriteCall(caller=SERVICE, body=None))
    assert str(live_levels.levels) == "info"
