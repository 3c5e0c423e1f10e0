"""The settings of the audit."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry_core.errors import SettingsError
from registry_core.replica_settings import replica_settings
from registry_core.security.audit.settings import KEEP, SEGMENT, AuditSettings


def audit(**given: str) -> AuditSettings:
    return replica_settings({f"REGISTRY_AUDIT{name}": value for name, value in given.items()}).audit


def test_no_audit_is_kept_unless_a_folder_is_named() -> None:
    assert audit() == audit(**{"": "off"}) == AuditSettings()
    assert audit(**{"": "/var/lib/vertice/audit"}).folder == Path("/var/lib/vertice/audit")


def test_every_setting_is_read() -> None:
    found = audit(
        _NAME="eu-1a", _KEEP="7d", _SEGMENT="1 GB", _FULL="refuse", _SYNC="off", _HEARTBEATS="on", **{"": "/a"}
    )
    assert found == AuditSettings(
        folder=Path("/a"),
        name="eu-1a",
        keep_days=7,
        segment_bytes=1 << 30,
        refuses=True,
        syncs=False,
        heartbeats=True,
    )
    assert audit(_KEEP="48h").keep_days == 2


def test_defaults_are_shown_as_they_are_written() -> None:
    assert (str(KEEP.default), str(SEGMENT.default), str(SEGMENT.read("64 kb"))) == ("90d", "64MB", "64KB")


@pytest.mark.parametrize(
    ("name", "value"),
    [("", "audit"), ("_NAME", "a b"), ("_KEEP", "1h"), ("_KEEP", "d"), ("_SEGMENT", "1KB"), ("_FULL", "stop")],
)
def test_a_wrong_value_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"REGISTRY_AUDIT{name}"):
        audit(**{name: value})
