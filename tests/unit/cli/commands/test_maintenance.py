"""The states that `vertice maintenance` prints."""

from __future__ import annotations

import pytest

from cli.commands.maintenance import lines


@pytest.mark.parametrize(
    ("held", "registered", "said"),
    [
        (None, "passing", "in use"),
        (None, "maintenance", "in use"),
        ("maintenance", "maintenance", "in maintenance"),
        ("maintenance", "passing", "in maintenance (at the registry: passing)"),
        ("maintenance", None, "in maintenance (at the registry: not registered)"),
        ("draining", "draining", "draining"),
    ],
)
def test_a_state_is_the_agents_and_the_registrys_where_that_differs(
    held: str | None, registered: str | None, said: str
) -> None:
    one = {"service_name": "billing", "instance_id": "a:1", "held": held, "registered_status": registered}
    assert list(lines({"services": [one]})) == [f"billing/a:1: {said}"]
