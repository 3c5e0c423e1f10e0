"""The exit codes of the `vertice` command: each number means the same in every command."""

from __future__ import annotations

from typing import Final

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
INTERRUPTED: Final = 130

DONE: Final = "done"
FAILURE: Final = "failed: nothing answers at the address, the answer was no, or a file could not be written"
WRONG_USAGE: Final = "wrong usage, a wrong or unknown setting, or an unusable file"
NOT_THERE: Final = "not found: no such service, instance or shard"
CTRL_C: Final = "interrupted by Ctrl-C"
# Of the commands that run until Ctrl-C, which is then their regular end.
CTRL_C_EARLY: Final = "interrupted by Ctrl-C before it had started"


def exit_codes(
    *,
    done: str = DONE,
    failed: str = FAILURE,
    usage: str = WRONG_USAGE,
    interrupted: str = CTRL_C,
    finds: bool = False,
) -> str:
    """Return a command's exit codes for its help page. `finds`: the command looks something up by name."""
    meanings = {OK: done, FAILED: failed, USAGE: usage, NOT_FOUND: NOT_THERE if finds else "", INTERRUPTED: interrupted}
    lines = [f"  {code:<3}  {meaning}" for code, meaning in meanings.items() if meaning]
    return "\n".join(["exit codes:", *lines])


EXIT_CODES: Final = exit_codes(finds=True)
