"""The names of logs."""

from __future__ import annotations

import pytest

from registry_core.security.audit.origins import drawn_name, is_name, origin_of, replica_name


@pytest.mark.parametrize("name", ["eu-1a", "10.0.0.7:8888", "a", "R2"])
def test_a_replica_may_have_such_a_name(name: str) -> None:
    assert replica_name(f" {name} ") == name
    assert is_name(origin_of(name))


@pytest.mark.parametrize("name", ["", "a b", "-a", "a+b", "a/b", "x" * 65, "é"])
def test_a_replica_may_not_have_such_a_name(name: str) -> None:
    with pytest.raises(ValueError, match="letters, digits"):
        replica_name(name)


@pytest.mark.parametrize("host", ["registry-1", "registry_1.eu", "é", "", "x" * 200])
def test_any_host_gives_a_name(host: str) -> None:
    name = drawn_name(host, "00c0ffee")
    assert replica_name(name) == name
    assert name.endswith("-00c0ffee")
