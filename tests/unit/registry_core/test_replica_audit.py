"""A replica's audit is built where a folder is named for it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from registry_core.errors import MissingPackage
from registry_core.ports.clock import SystemClock
from registry_core.replica_audit import audit_of
from registry_core.security.audit.settings import AuditSettings
from registry_core.supervision import Background


def test_without_a_folder_there_is_no_audit() -> None:
    assert audit_of(AuditSettings(), SystemClock(), Background()) is None


def test_without_the_package_for_signatures_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("registry_core.security.audit.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for name in [name for name in sys.modules if name.startswith("cryptography.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingPackage, match="REGISTRY_AUDIT needs the Python package cryptography"):
        audit_of(AuditSettings(folder=tmp_path), SystemClock(), Background())
