"""What is left to do after `vertice compose inject`: images, a registry, the secret, and the start.

Pure: it reads no file and asks no container engine.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator

import msgspec

from cli.compose.sidecars import IMAGE, REGISTRY_IMAGE, REGISTRY_SERVICE, SECRET_VARIABLE, Options


class SetupState(msgspec.Struct, frozen=True):
    """What the steps depend on, apart from the options.

    `files`: those to start the fleet with, none when nothing was written. `env_file`: the `.env` beside the first of
    them. `source`: the folder with our Dockerfiles, empty when it is not known. `has_registry`: the agents' registry is
    in the file, or was named. `has_token`: the secret is set.
    """

    files: tuple[str, ...]
    env_file: str
    source: str
    has_registry: bool
    has_token: bool


class SetupStep(msgspec.Struct, frozen=True):
    """A command, and its purpose; the purpose alone where no command is known."""

    command: str
    why: str = ""

    def __str__(self) -> str:
        return "    ".join(filter(None, (self.command, self.why and f"# {self.why}")))


def next_steps(options: Options, start: SetupState) -> Iterator[SetupStep]:
    """Return the steps, in order."""
    if options.image == IMAGE:
        yield _built(IMAGE, "Dockerfile.agent", "the image of the agents, unless --image names one", options, start)
    if options.registry_image == REGISTRY_IMAGE:
        purpose = "the image of the registry, unless --registry-image names one"
        yield _built(REGISTRY_IMAGE, "Dockerfile.registry", purpose, options, start)
    if not start.has_registry:
        yield SetupStep(
            "",
            f"the agents have no registry: the file has no service {REGISTRY_SERVICE}; repeat this with "
            "--with-registry, or with --registry URL",
        )
    if not start.has_token:
        value = "$(openssl rand -hex 24)" if options.registry_image else "SECRET"
        purpose = "the secret that the registry and its agents share"
        yield SetupStep(f'echo "{SECRET_VARIABLE}={value}" >> {shlex.quote(start.env_file)}', purpose)
    if start.files:
        program = ("podman-compose",) if options.podman else ("docker", "compose")
        yield SetupStep(_shell((*program, *(word for file in start.files for word in ("-f", file)), "up", "-d")))


def _built(image: str, dockerfile: str, why: str, options: Options, start: SetupState) -> SetupStep:
    program = ("podman", "build", "--format", "docker") if options.podman else ("docker", "build")
    source = start.source or "."
    path = f"{source}/{dockerfile}" if start.source else dockerfile
    place = "" if start.source else " (in the folder with the sources of Vértice)"
    return SetupStep(_shell((*program, "-t", image, "-f", path, source)), why + place)


def _shell(words: Iterable[str]) -> str:
    return " ".join(map(shlex.quote, words))
