"""The check of the lock files: a known vulnerability ends it, and what was not checked is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import vulnerabilities
from tools.vulnerabilities import NOT_CHECKED, findings_in

# As pip-audit 2.10 reports them.
REPORT = {
    "dependencies": [
        {"name": "aiohttp", "version": "3.8.0", "vulns": [{"id": "PYSEC-2023-120", "fix_versions": ["3.8.5"]}]},
        {"name": "h2", "version": "4.4.1", "vulns": []},
        {"name": "uvloop", "skip_reason": "Dependency not found on PyPI and could not be audited: uvloop (0.23.0)"},
    ]
}


def test_a_finding_names_the_package_and_the_version_that_mends_it() -> None:
    findings = findings_in(REPORT)
    assert findings.vulnerable == ("aiohttp 3.8.0: PYSEC-2023-120, fixed in 3.8.5",)
    assert findings.checked == 2
    assert findings.skipped == ("uvloop",)


def test_a_vulnerability_fails_the_check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(vulnerabilities, "audited", lambda _: findings_in(REPORT))
    assert vulnerabilities.main() == 1
    assert "PYSEC-2023-120" in capsys.readouterr().err


def test_an_audit_that_cannot_ask_says_so_loudly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    silent = tmp_path / "pip-audit"
    silent.write_text("#!/bin/sh\necho no report\n")
    silent.chmod(0o700)
    monkeypatch.setattr(vulnerabilities, "PROGRAM", silent)
    assert vulnerabilities.main() == 0
    assert NOT_CHECKED in capsys.readouterr().out
