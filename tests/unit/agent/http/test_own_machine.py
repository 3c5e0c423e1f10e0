"""Only programs on its own machine may drain an agent's services, wherever the agent listens."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from agent.http.own_machine import LocalCallers
from agent.settings.local_port import WRITE_HEADER
from registry_core.errors import Forbidden
from registry_core.security.rights import Right

CALLERS = LocalCallers(lambda: ())
HEADERS = {WRITE_HEADER: "1"}


@pytest.mark.parametrize("remote", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_this_machine_may(remote: str) -> None:
    CALLERS.require(make_mocked_request("POST", "/drain", headers=HEADERS).clone(remote=remote), Right.TEND)


@pytest.mark.parametrize("remote", ["10.0.0.9", "172.17.0.1", "fd00::1", "::ffff:10.0.0.9", ""])
def test_other_machines_may_not(remote: str) -> None:
    request = make_mocked_request("POST", "/drain", headers=HEADERS).clone(remote=remote)
    with pytest.raises(Forbidden):
        CALLERS.require(request, Right.TEND)
    CALLERS.require(request, Right.LOOK_UP)
