"""Runs a probe that is expected to be carried out."""

from __future__ import annotations

from agent.checks.result import CheckResult, Probe


async def result(probe: Probe) -> CheckResult:
    """Return what the probe found out about the service."""
    outcome = await probe()
    assert isinstance(outcome, CheckResult), outcome
    return outcome
