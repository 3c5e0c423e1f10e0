"""Checks the packages of the lock files for known vulnerabilities, with pip-audit, and says what was not checked.

pip-audit has an environment of its own, `.venv-audit`, so that nothing of it is beside what the tests import.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
PROGRAM: Final = ROOT / ".venv-audit" / "bin" / "pip-audit"
# What runs: in an image, or in an environment made by `make setup`. What the tests use alone is not shipped.
LOCKS: Final = ("requirements-agent.lock", "requirements.lock", "requirements-traces.lock")
TIMEOUT_S: Final = 180.0
NOT_CHECKED: Final = "NOT CHECKED for known vulnerabilities"


class Findings(NamedTuple):
    """What pip-audit said of the packages in one lock file: one line for each finding, and for each one it skipped."""

    checked: int
    vulnerable: tuple[str, ...]
    skipped: tuple[str, ...]


def findings_in(report: dict[str, Any]) -> Findings:
    """Return the findings in pip-audit's JSON report."""
    vulnerable: list[str] = []
    skipped: list[str] = []
    checked = 0
    for package in report["dependencies"]:
        if "skip_reason" in package:
            skipped.append(package["name"])
            continue
        checked += 1
        for one in package["vulns"]:
            fixed = ", ".join(one["fix_versions"]) or "no version yet"
            vulnerable.append(f"{package['name']} {package['version']}: {one['id']}, fixed in {fixed}")
    return Findings(checked, tuple(vulnerable), tuple(skipped))


def audited(lock: Path) -> Findings:
    """Return what pip-audit finds in a lock file; everything is skipped when it gives no report."""
    argv = [
        str(PROGRAM),
        "--require-hashes",
        "--disable-pip",
        "--progress-spinner",
        "off",
        "-f",
        "json",
        "-r",
        str(lock),
    ]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        return findings_in(json.loads(done.stdout))
    except (subprocess.TimeoutExpired, ValueError):
        return Findings(0, (), ("every package",))


def main() -> int:
    """Print the findings of every lock file. Returns 1 when a package has a known vulnerability."""
    found: list[str] = []
    for name in LOCKS:
        findings = audited(ROOT / name)
        print(f"{name}: {findings.checked} packages checked, {len(findings.vulnerable)} known vulnerabilities")
        if findings.skipped:
            shown = ", ".join(findings.skipped[:3]) + (", ..." if len(findings.skipped) > 3 else "")
            print(f"{name}: {NOT_CHECKED}: {shown}: the database that pip-audit asks does not answer for them here")
        found += findings.vulnerable
    for line in sorted(set(found)):
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
