"""Only programs on its own machine may drain an agent's services, wherever the agent listens."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from agent.http.local_api import own_query
from registry_core.errors import Forbidden


@pytest.mark.parametrize("remote", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_this_machine_may(remote: str) -> None:
    request = make_mocked_request("POST", "/drain?service=billing").clone(remote=remote)
    assert own_query(request)["service"] == "billing"


@pytest.mark.parametrize("remote", ["10.0.0.9", "172.17.0.1", "fd00::1", "::ffff:10.0.0.9", ""])
def test_other_machines_may_not(remote: str) -> None:
    with pytest.raises(Forbidden):
        own_query(make_mocked_request("POST", "/drain").clone(remote=remote))
