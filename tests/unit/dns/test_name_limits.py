"""Which names can be written."""

from __future__ import annotations

import pytest

from dns import record_data
from dns.name_limits import NameTooLong, check_name, fits

LONG = b"x" * 63


@pytest.mark.parametrize("name", [(), (b"a",), (LONG,), (LONG, LONG, LONG, b"x" * 61)])
def test_a_name_of_255_octets_fits(name: tuple[bytes, ...]) -> None:
    assert fits(name)
    assert len(record_data.name_data(name)) <= 255


@pytest.mark.parametrize(
    "name", [(b"",), (b"a", b"", b"b"), (LONG + b"x",), (LONG, LONG, LONG, b"x" * 62), (b"a",) * 128]
)
def test_a_longer_one_is_never_written(name: tuple[bytes, ...]) -> None:
    assert not fits(name)
    with pytest.raises(NameTooLong):
        check_name(name)
    with pytest.raises(NameTooLong):
        record_data.srv_data(0, 1, 80, name)
