"""Reads from a Dockerfile on which TCP ports its program may listen, and which image it builds on.

Pure. `EXPOSE` is documentation to Docker, but its author is who wrote the program: of a service without a declared port
it is the best that a checkout has to say. The health check, the command and the variables of the image may speak of a
port as well. Nothing else of the file is interpreted.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from cli.compose.health_checks import is_management
from cli.compose.interpolation import BadVariable, fill
from cli.compose.ports import is_port

MAX_BYTES: Final = 256 * 1024
MAX_STAGES: Final = 200
MAX_PORTS: Final = 20
_CONTINUED: Final = re.compile(r"\\[ \t]*\r?\n(?:[ \t]*#[^\n]*\n)*")
_INSTRUCTION: Final = re.compile(
    r"[ \t]*(FROM|ARG|ENV|EXPOSE|HEALTHCHECK|CMD|ENTRYPOINT)[ \t]+([^\r\n]*)", re.IGNORECASE
)
# What a health check asks of the container itself over HTTP.
_OWN_URL: Final = re.compile(
    r"https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\]):(\d{1,5})(?!\d)(/[^\s\"'|;)&]*)?", re.IGNORECASE
)
_NUMBER: Final = re.compile(r"(?<!\d)\d{2,5}(?![\d.])", re.ASCII)
_PORT: Final = re.compile(r"(\d{1,5})(-\d{1,5})?(?:/tcp)?", re.ASCII | re.IGNORECASE)
_OTHER_PROTOCOL: Final = re.compile(r"\d{1,5}(?:-\d{1,5})?/(?:udp|sctp)", re.ASCII | re.IGNORECASE)


class BuildStage(msgspec.Struct):
    """One stage: its name, its base (an image, or an earlier stage), its variables and the ports that it exposes.

    `is_partial`: it exposes more than `ports`. `check` is the port that its health check asks over HTTP, `commands` are
    its last CMD and ENTRYPOINT.
    """

    name: str
    base: str
    variables: dict[str, str]
    ports: list[int]
    check: int | None = None
    commands: dict[str, str] = {}
    is_partial: bool = False


class BuiltImage(msgspec.Struct, frozen=True):
    """The TCP ports that an image exposes, in order, and the image from elsewhere that it is built on.

    `check_port` is what its health check asks over HTTP; `mentioned` are the ports of which its command and its
    variables speak. `is_partial`: EXPOSE names more than `exposed`, such as a range or a variable without a value.
    """

    exposed: tuple[int, ...] = ()
    base: str | None = None
    check_port: int | None = None
    mentioned: tuple[int, ...] = ()
    is_partial: bool = False


def built_image(text: str, target: str | None = None, args: Mapping[str, str | None] | None = None) -> BuiltImage:
    """Return what a Dockerfile's text says of its last stage, or of the stage `target`; `args` overrides its ARGs."""
    stages: dict[str, BuildStage] = {}
    current: BuildStage | None = None
    first: dict[str, str] = {}
    for instruction, rest in _instructions(text):
        if instruction == "FROM":
            if len(stages) >= MAX_STAGES:
                break
            current = _stage(rest, stages, first)
            stages[str(len(stages))] = current
        elif instruction == "EXPOSE":
            if current is not None:
                _expose(rest, current)
        elif instruction in ("HEALTHCHECK", "CMD", "ENTRYPOINT"):
            if current is not None:
                _run(instruction, rest, current)
        else:
            variables = first if current is None else current.variables
            _assign(instruction, rest, variables, first, args or {})
    wanted = [stage for key, stage in stages.items() if target is not None and target.lower() in (stage.name, key)]
    if target is not None and not wanted:
        return BuiltImage()
    last = wanted[-1] if wanted else current
    if last is None:
        return BuiltImage()
    exposed = tuple(dict.fromkeys(last.ports))
    mentioned = tuple(_mentioned(last))[:MAX_PORTS]
    is_partial = last.is_partial or len(exposed) > MAX_PORTS
    return BuiltImage(exposed[:MAX_PORTS], last.base or None, last.check, mentioned, is_partial)


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    for line in _CONTINUED.sub(" ", text).splitlines():
        match = _INSTRUCTION.match(line)
        if match is not None:
            yield match[1].upper(), match[2].strip()


def _stage(rest: str, stages: Mapping[str, BuildStage], variables: Mapping[str, str]) -> BuildStage:
    """Return a new stage. One that builds on an earlier stage has that one's base, variables and ports."""
    words = [word for word in rest.split() if not word.startswith("--")]
    image = _filled(words[0], variables) if words else ""
    name = words[2].lower() if len(words) > 2 and words[1].lower() == "as" else ""
    below = next(
        (stage for stage in reversed(list(stages.values())) if stage.name and stage.name == image.lower()), None
    )
    if below is None:
        return BuildStage(name, image, {}, [])
    inherited = dict(below.variables), list(below.ports), below.check, dict(below.commands), below.is_partial
    return BuildStage(name, below.base, *inherited)


def _run(instruction: str, rest: str, stage: BuildStage) -> None:
    text = _filled(rest, stage.variables)
    if instruction == "HEALTHCHECK":
        asked = _OWN_URL.search(text)
        is_own = asked is not None and is_port(int(asked[1])) and not is_management(asked[2] or "")
        stage.check = int(asked[1]) if asked is not None and is_own else None
    else:
        stage.commands = {**stage.commands, instruction: text}


def _mentioned(stage: BuildStage) -> Iterator[int]:
    numbers = [value for name, value in stage.variables.items() if "PORT" in name.upper()]
    numbers += stage.commands.values()
    yield from dict.fromkeys(int(n) for text in numbers for n in _NUMBER.findall(text) if is_port(int(n)))


def _assign(
    instruction: str, rest: str, variables: dict[str, str], first: Mapping[str, str], args: Mapping[str, str | None]
) -> None:
    try:
        words = shlex.split(rest, comments=False)
    except ValueError:
        return
    if instruction == "ENV" and words and "=" not in words[0]:
        words = [f"{words[0]}={' '.join(words[1:])}"]  # the old form: ENV NAME value
    for word in words:
        name, sign, value = word.partition("=")
        if instruction == "ENV":
            variables[name] = _filled(value, variables)
            continue
        given = args.get(name)
        if given is not None:
            variables[name] = given
        elif sign:
            variables[name] = _filled(value, variables)
        elif name in first:  # ARG NAME takes what an ARG before the first FROM says
            variables[name] = first[name]


def _expose(rest: str, stage: BuildStage) -> None:
    """Add the ports of an EXPOSE to its stage. Of a range the first one is added, and the rest stays unknown."""
    try:
        filled = fill(rest, stage.variables)
    except BadVariable:
        stage.is_partial = True
        return
    stage.is_partial = stage.is_partial or bool(filled.unset)
    for word in filled.text.split():
        match = _PORT.fullmatch(word)
        if match is not None and is_port(int(match[1])):
            stage.ports.append(int(match[1]))
        stage.is_partial = stage.is_partial or (match[2] is not None if match else not _OTHER_PROTOCOL.fullmatch(word))


def _filled(text: str, variables: Mapping[str, str]) -> str:
    try:
        return fill(text, variables).text
    except BadVariable:
        return text
