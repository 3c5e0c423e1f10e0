"""Decides what a project is called, as Compose does: names of containers and networks are made of it.

Pure, apart from asking for the present folder when a file is named without one.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Mapping
from typing import Final

from cli.compose.errors import ComposeError, Place
from cli.compose.interpolation import BadVariable, fill

PROJECT_NAME: Final = "COMPOSE_PROJECT_NAME"
_ALLOWED: Final = re.compile(r"[a-z0-9_-]", re.ASCII)


def project_name(
    title: str, folder: str, variables: Mapping[str, str], place: Place, report: Callable[[ComposeError], None]
) -> str:
    """Return the name: from the environment, else from the files (`title`, as written), else that of the folder."""
    given = variables.get(PROJECT_NAME)
    where = PROJECT_NAME
    if not given:
        # A bad variable is reported where the file is read.
        with contextlib.suppress(BadVariable):
            title = fill(title, variables).text
        where, given = "name", title
        if not title:
            return _normal(os.path.basename(os.path.abspath(folder)))  # noqa: PTH100, PTH119 - pure text
    name = _normal(given)
    if not name or (name != given and where == PROJECT_NAME):
        reason = f"{where} is {given!r}; Compose wants lower-case letters, digits, - and _, a letter or a digit first"
        report(ComposeError(reason, code="project-name", place=place, field=where, example=name or "acme"))
        return name or given
    return name


def _normal(name: str) -> str:
    return "".join(_ALLOWED.findall(name.lower())).lstrip("_-")
