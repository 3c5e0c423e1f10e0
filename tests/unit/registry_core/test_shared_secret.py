"""The shared secret: one or two in its setting, and the first is sent."""

from __future__ import annotations

import pytest

from registry_core.shared_secret import SECRET, sent


def test_of_two_secrets_the_first_is_sent() -> None:
    assert SECRET.read(" new, old\n") == ("new", "old")
    assert [sent(secrets) for secrets in (("new", "old"), ("one",), ())] == ["new", "one", ""]


@pytest.mark.parametrize("text", [",", "a,b,c", "a b"])
def test_more_than_two_secrets_and_blanks_in_one_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="secret"):
        SECRET.read(text)
