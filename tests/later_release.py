"""A later release, as a program: `python -m tests.later_release registry ...`.

It is this code with what a later release may change on the wire: one more field in each instance, a status, a
protocol, and another type of event in place of `status_changed`.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Final

from tests.previous import Release

LATER: Final = Release("later", (sys.executable, "-m", "tests.later_release"))

# For each module: the text, and its replacement in a later release. Each must be found.
CHANGES: Final = {
    "registry_core.domain.records": (
        ('MAINTENANCE = "maintenance"', 'MAINTENANCE = "maintenance"\n    QUARANTINED = "quarantined"'),
        ('UDP = "udp"', 'UDP = "udp"\n    QUIC = "quic"'),
        ("    suspect: bool = False\n", '    suspect: bool = False\n    planet: str = "earth"\n'),
    ),
    "registry_core.watch.lines": (('tag="status_changed"', 'tag="standing_changed"'),),
}


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads the modules in CHANGES with their changes."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        found = PathFinder.find_spec(fullname, path, target) if fullname in CHANGES else None
        return importlib.util.spec_from_loader(fullname, self, origin=found.origin) if found is not None else None

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        assert spec is not None
        assert spec.origin is not None
        with open(spec.origin, encoding="utf-8") as file:  # noqa: PTH123 - the import system speaks in names of files
            source = file.read()
        for before, after in CHANGES[module.__name__]:
            if source.count(before) != 1:
                raise AssertionError(f"{before!r} occurs {source.count(before)} times in {spec.origin}")
            source = source.replace(before, after)
        exec(compile(source, spec.origin, "exec"), module.__dict__)


if __name__ == "__main__":
    sys.meta_path.insert(0, _Changed())
    from cli.main import main

    sys.exit(main())
