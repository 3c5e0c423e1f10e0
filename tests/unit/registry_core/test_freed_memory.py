"""Freed memory goes back to the system."""

from __future__ import annotations

import ctypes

import pytest

from registry_core import freed_memory
from registry_core.freed_memory import give_back


def test_freed_memory_is_given_back_where_the_c_library_can() -> None:
    assert give_back() == hasattr(ctypes.CDLL(None), "malloc_trim")


def test_where_it_cannot_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freed_memory, "_malloc_trim", lambda: None)
    assert not give_back()
