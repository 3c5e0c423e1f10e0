"""Which operation or handler serves an endpoint, as the table of endpoints says."""

from __future__ import annotations

import inspect
from typing import Any, get_args, get_origin

import pytest

from registry_core.api.calls import Call, WriteCall
from registry_core.api.certificates import Certificates
from registry_core.api.endpoints import ENDPOINTS, Endpoint
from registry_core.api.operations import Operations
from registry_core.api.routes import Handlers


def operation(endpoint: Endpoint) -> Any:
    """Return the operation that serves an endpoint; None when a handler does."""
    found = [kind for kind in (Operations, Certificates) if hasattr(kind, endpoint.name)]
    assert len(found) <= 1
    return getattr(found[0], endpoint.name) if found else None


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda each: each.name)
def test_each_endpoint_is_served_by_a_handler_or_an_operation(endpoint: Endpoint) -> None:
    assert hasattr(Handlers, endpoint.name) or operation(endpoint) is not None


@pytest.mark.parametrize("endpoint", [each for each in ENDPOINTS if each.writes], ids=lambda each: each.name)
def test_every_write_is_an_operation_so_that_its_caller_is_identified(endpoint: Endpoint) -> None:
    assert not hasattr(Handlers, endpoint.name)
    (_, call) = inspect.signature(operation(endpoint), eval_str=True).parameters.values()
    assert get_origin(call.annotation) is WriteCall
    assert get_args(call.annotation) == (endpoint.body if endpoint.body is not None else type(None),)


@pytest.mark.parametrize(
    "endpoint",
    [each for each in ENDPOINTS if not each.writes and not hasattr(Handlers, each.name)],
    ids=lambda each: each.name,
)
def test_an_operation_that_only_reads_takes_nothing_but_the_call(endpoint: Endpoint) -> None:
    (_, call) = inspect.signature(operation(endpoint), eval_str=True).parameters.values()
    assert call.annotation is Call
    assert endpoint.body is None
