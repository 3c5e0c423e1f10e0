"""Judges AGENT_STATE_DIR: whether the agent's knowledge survives a restart. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cli.doctor.facts import Facts
from cli.doctor.finding import DoctorFinding, DoctorRule, DoctorSeverity

# A snapshot of 10,000 instances takes some megabytes, and the old one stays until the new one is complete.
ENOUGH_BYTES: Final = 64 * 1024 * 1024

FINE = DoctorRule("state-dir", DoctorSeverity.OK, "AGENT_STATE_DIR {path} is writable")
NONE = DoctorRule(
    "state-dir-none",
    DoctorSeverity.NOTE,
    "AGENT_STATE_DIR is not set: the agent keeps nothing across a restart",
    "an agent that restarts while the registry is unreachable knows no services until it returns",
    "AGENT_STATE_DIR=/var/lib/vertice    # this agent's own folder; in containers, a volume",
)
BROKEN = DoctorRule(
    "state-dir-problem",
    DoctorSeverity.ERROR,
    "AGENT_STATE_DIR {path} cannot be used: {problem}",
    "the agent still runs, but keeps nothing across a restart",
    "mkdir -p {path} && chown {user} {path}",
)
FOREIGN = DoctorRule(
    "state-dir-owner",
    DoctorSeverity.ERROR,
    "AGENT_STATE_DIR {path} belongs to user {owner} and is not writable for user {user}",
    "the agent still runs, but keeps nothing across a restart",
    "chown -R {user} {path}    # or run the agent, and the doctor, as user {owner}",
)
OPEN = DoctorRule(
    "state-dir-open",
    DoctorSeverity.ERROR,
    "every user may write to AGENT_STATE_DIR {path}",
    "the agent still runs, but neither reads nor writes it: ids and epochs in it could be anyone's",
    "chmod o-w {path}    # or AGENT_STATE_DIR={path}/agent, which the agent creates for itself",
)
FULL = DoctorRule(
    "state-dir-full",
    DoctorSeverity.WARNING,
    "AGENT_STATE_DIR {path} has {free} MiB left",
    "a snapshot that does not fit is not written, and the previous one goes stale",
    "df -h {path}    # make room, or choose another folder",
)
TAKEN = DoctorRule(
    "state-dir-taken",
    DoctorSeverity.WARNING,
    "AGENT_STATE_DIR {path} is locked by {holder}, but no agent with these settings is running",
    "an agent that starts here keeps nothing, because two must not write the same snapshot",
    "AGENT_STATE_DIR={path}-2    # one folder per agent",
)
DAMAGED = DoctorRule(
    "state-dir-damaged",
    DoctorSeverity.NOTE,
    "AGENT_STATE_DIR {path} has a damaged snapshot that was set aside",
    "a full or failing disk causes this; the agent started without the snapshot",
    "rm {path}/snapshot.bad    # once you have looked at it",
)
KINDS: Final = (FINE, NONE, BROKEN, FOREIGN, OPEN, FULL, TAKEN, DAMAGED)


def judge(facts: Facts) -> Iterator[DoctorFinding]:
    """Return the findings on the folder. An agent whose settings are unknown may well have one."""
    state = facts.state
    if not facts.subject.state_dir:
        if facts.agent is None:
            yield NONE.found()
        return
    if state is None:
        return
    path = state.path
    problem = state.problem
    if not problem and not state.exists and not state.can_be_made:
        problem = "it does not exist, and this user cannot create it"
    elif not problem and state.exists and not state.is_folder:
        problem = "it is not a folder"
    if problem:
        yield BROKEN.found(path=path, problem=problem, user=state.user)
        return
    bad = False
    if state.exists and not state.writable:
        bad = True
        yield FOREIGN.found(path=path, owner=state.owner, user=state.user)
    if state.open_to_all:
        bad = True
        yield OPEN.found(path=path)
    if state.free_bytes < ENOUGH_BYTES:
        bad = True
        yield FULL.found(path=path, free=state.free_bytes // 2**20)
    if state.locked_by and facts.agent is None:
        bad = True
        yield TAKEN.found(path=path, holder=state.locked_by)
    if state.has_damaged_snapshot:
        yield DAMAGED.found(path=path)
    if not bad:
        yield FINE.found(path=path)
