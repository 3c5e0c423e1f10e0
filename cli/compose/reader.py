"""Reads compose files into a Project. This is the only place that opens them; it writes nothing.

Errors in a part of a file are collected in `Project.problems`, so that the caller can choose: `project.checked()`
rejects whatever Compose would refuse. A file that is not a compose file at all raises ComposeError.
"""

from __future__ import annotations

import contextlib
import gc
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from cli.compose import dockerfile
from cli.compose.env_file import FORMATS, Statement, statements_of
from cli.compose.errors import ComposeError, Place
from cli.compose.loader import Loading, ReadFile, dot_env
from cli.compose.model import DEFAULT_NETWORK, ComposeService, EnvFile, Network, Project
from cli.compose.project_name import PROJECT_NAME, project_name
from cli.compose.refusals import check_networks
from cli.compose.services import service_of
from cli.compose.tree import Mapping as Tree
from cli.compose.tree import MappingEntry, Scalar
from registry_core.causes import cause_of

MAX_FILE_BYTES: Final = 8 * 1024 * 1024
# Over all services: thousands of services that share an env file of thousands of lines would exhaust memory.
MAX_VARIABLES: Final = 1_000_000
MAX_DOCKERFILES: Final = 500
NO_VARIABLES: Final[Mapping[str, str]] = {}


def read_project(paths: Iterable[Path], environment: Mapping[str, str] = NO_VARIABLES) -> Project:
    """Return the project of one or more compose files, each merged over the ones before it. Raises ComposeError.

    `environment` provides the files' variables and takes precedence over the `.env` file next to the first one.
    """
    files = [(str(path), _opened(path)) for path in paths]
    if not files:
        raise ComposeError("a compose file is required", code="no-file")
    with _without_collections():
        return project_of(files, environment, lambda path: _read(Path(path)))


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Disable the garbage collector: none of a large file's half million nodes is garbage before the end.

    Five thousand services take 0.8 s this way, and 2.1 s with the collector on.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _opened(path: Path) -> bytes:
    try:
        return _read(path)
    except OSError as error:
        raise ComposeError(cause_of(error), code="no-file", place=Place(str(path))) from None


def _read(path: Path) -> bytes:
    """Return a file's bytes. Raises OSError, and ComposeError when the file is too large."""
    # Without O_NONBLOCK, opening a named pipe would block.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        kind = os.fstat(file.fileno()).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind)):
            raise OSError(None, "it is not a file")
        os.set_blocking(file.fileno(), True)
        raw = file.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        reason = f"it has more than {MAX_FILE_BYTES // 1024 // 1024} MB, too large for a compose file"
        raise ComposeError(reason, code="too-large", place=Place(str(path)))
    return raw


def project_of(
    files: list[tuple[str, bytes]], environment: Mapping[str, str] = NO_VARIABLES, read: ReadFile | None = None
) -> Project:
    """Return the project of these (name, content) pairs. Other files come from `read`, or are ignored without it."""
    problems: list[ComposeError] = []
    report = problems.append
    folder = os.path.dirname(files[0][0])  # noqa: PTH120 - pure text
    variables = project_variables(folder, environment, read, report)
    loading = Loading(files, read, report)
    if loading.is_empty():
        raise ComposeError("it is empty", code="not-compose", place=Place(files[0][0]))
    name = project_name(loading.title(), folder, variables, Place(files[0][0]), report)
    variables[PROJECT_NAME] = name
    loaded = loading.load(folder, variables)
    if not loaded.services:
        raise ComposeError(
            "it has no `services`, so it is not a compose file",
            code="not-compose",
            place=Place(files[0][0]),
            example="services: {web: {image: web}}",
        )
    networks = _networks(loaded.networks)
    for service, entry in loaded.services.items():
        if isinstance(entry.node, Tree):
            check_networks(service, entry.node, frozenset(networks), report)
    env = _EnvFiles(read, problems)
    services = {
        key: service_of(key, entry, variables, env.statements, report) for key, entry in loaded.services.items()
    }
    images = _BuiltImages(read)
    shared = Counter(service.built.identity for service in services.values() if service.built is not None)
    services = {key: images.told_of(service, shared) for key, service in services.items()}
    # A file that is used in two ways is checked in both.
    unique = {(str(problem), problem.code, problem.field): problem for problem in problems}
    return Project(name, tuple(file for file, _ in files), services, networks, tuple(unique.values()))


def project_variables(
    folder: str, environment: Mapping[str, str], read: ReadFile | None, report: Callable[[ComposeError], None]
) -> dict[str, str]:
    """Return the variables of a project in `folder`: the environment's, and those of the `.env` there."""
    if read is None or _is_true(environment.get("COMPOSE_DISABLE_ENV_FILE", "")):
        return dict(environment)
    try:
        return {**dot_env((os.path.join(folder, ".env"),), environment, read, report), **environment}  # noqa: PTH118 - a path as text, which nothing here opens
    except OSError:
        return dict(environment)


def _is_true(text: str) -> bool:
    return text.lower() in ("1", "t", "true")


def _networks(entries: Mapping[str, MappingEntry]) -> dict[str, Network]:
    found = {DEFAULT_NETWORK: Network(DEFAULT_NETWORK, False, Place())}
    for name, entry in entries.items():
        body = entry.node if isinstance(entry.node, Tree) else Tree({}, entry.place)
        external, called = body.get("external"), body.get("name")
        is_external = external is not None and not (
            isinstance(external, Scalar) and external.text.lower() in ("false", "n", "no", "off")
        )
        if isinstance(external, Tree):  # the form of version 2: `external: {name: other}`
            called = external.get("name") or called
        text = called.text if isinstance(called, Scalar) else name if is_external else ""
        found[name] = Network(name, is_external, entry.place, text)
    return found


class _EnvFiles:
    """The files that `env_file` and `label_file` name. Each is read once."""

    def __init__(self, read: ReadFile | None, problems: list[ComposeError]) -> None:
        self._read = read
        self._problems = problems
        self._known: dict[tuple[str, str], list[Statement] | None] = {}
        self._room = MAX_VARIABLES

    def statements(self, service: str, file: EnvFile) -> list[Statement] | None:
        """Return a file's statements, or None when it does not exist. A missing required file is reported."""
        if self._read is None:
            return None
        key = (file.path, file.format)
        if key not in self._known:
            self._known[key] = self._open(file, self._read)
        found = self._known[key]
        if file.format not in FORMATS:
            self._tell(service, file, f"its file {file.path} has the format {file.format!r}, which Compose lacks")
        elif found is None and file.required:
            self._tell(service, file, f"its file {file.path} cannot be read")
        self._room -= len(found or ())
        if self._room < 0:
            reason = f"the env files have more than {MAX_VARIABLES:,} variables in total"
            raise ComposeError(reason, code="too-large", place=file.place)
        return found

    def _tell(self, service: str, file: EnvFile, reason: str) -> None:
        example = f"{file.key}: [web.env]" if file.key != "env_file" else "env_file: [{path: web.env, required: false}]"
        field = f"services.{service}.{file.key}"
        self._problems.append(
            ComposeError(reason, code="env-file", place=file.place, field=field, service=service, example=example)
        )

    def _open(self, file: EnvFile, read: ReadFile) -> list[Statement] | None:
        if file.format not in FORMATS:
            return None
        try:
            text = read(file.path).decode("utf-8-sig", "replace")
        except OSError:
            return None
        return statements_of(text, file.path, self._problems.append, raw=file.format == "raw")


class _BuiltImages:
    """The Dockerfiles of the services that are built here. Each is read once; one that cannot be read tells nothing."""

    def __init__(self, read: ReadFile | None) -> None:
        self._read = read
        self._texts: dict[str, str] = {}
        self._known: dict[object, dockerfile.BuiltImage] = {}

    def told_of(self, service: ComposeService, users: Mapping[tuple[str, str | None], int]) -> ComposeService:
        """Return a service with what the Dockerfile of its image says; `users` counts the services of each build."""
        build = service.built
        if build is None:
            return service
        text = self._text(build.dockerfile) if build.inline is None else build.inline[: dockerfile.MAX_BYTES]
        key = (text, build.target, tuple(build.args.items()))
        image = self._known.get(key)
        if image is None:
            image = self._known[key] = dockerfile.built_image(text, build.target, build.args)
        built = msgspec.structs.replace(
            build,
            exposed=image.exposed,
            base=image.base,
            check_port=image.check_port,
            mentioned=image.mentioned,
            is_partial=image.is_partial,
            is_shared=users[build.identity] > 1,
        )
        return msgspec.structs.replace(service, built=built)

    def _text(self, path: str) -> str:
        if path not in self._texts and self._read is not None and len(self._texts) < MAX_DOCKERFILES:
            self._texts[path] = ""
            with contextlib.suppress(OSError, ComposeError):
                self._texts[path] = self._read(path)[: dockerfile.MAX_BYTES].decode("utf-8-sig", errors="replace")
        return self._texts.get(path, "")
