"""The agent's budget of descriptors: its own work has room, however many clients there are."""

from __future__ import annotations

import msgspec
import pytest

from agent.descriptors import ENOUGH, RESERVED, DescriptorBudget, budget

PIPES = 6
SOCKETS = 3
OF_A_LOOKUP = 2


def used(given: DescriptorBudget) -> int:
    """Return the descriptors in use when all of it is taken."""
    connections = given.http + given.dns_tcp + given.registry + given.checks
    return connections + SOCKETS * given.forwarded + PIPES * given.commands + OF_A_LOOKUP * given.lookups


def test_under_a_high_limit_each_part_has_what_it_wants() -> None:
    wanted = DescriptorBudget(http=1000, dns_tcp=200, forwarded=150, registry=32, checks=256, commands=8, lookups=32)
    assert budget(None, checks=1) == budget(ENOUGH, checks=1) == budget(1_000_000, checks=600) == wanted
    assert used(wanted) + RESERVED <= ENOUGH


@pytest.mark.parametrize("limit", [192, 256, 512, 1024, ENOUGH - 1])
@pytest.mark.parametrize("checks", [0, 1, 20, 620])
def test_under_a_low_limit_all_fits_and_checks_come_first(limit: int, checks: int) -> None:
    given = budget(limit, checks=checks)
    assert used(given) + RESERVED <= limit
    assert min(msgspec.structs.astuple(given)) >= 2
    assert given.checks >= min(checks, 16)


def test_under_the_usual_limit_of_1024_ports_keep_most_of_it() -> None:
    assert budget(1024, checks=1) == DescriptorBudget(
        http=505, dns_tcp=103, forwarded=76, registry=32, checks=17, commands=8, lookups=12
    )


def test_under_a_hopeless_limit_the_least_remains() -> None:
    given = budget(10, checks=5)
    assert (given.http, given.checks, given.registry, given.commands) == (16, 8, 8, 2)
