"""Which ports a Dockerfile exposes, and which image it builds on."""

from __future__ import annotations

import pytest

from cli.compose.dockerfile import MAX_PORTS, BuiltImage, built_image


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("FROM node\nEXPOSE 3000\n", (3000,)),
        ("from node\nexpose 3000/tcp 9229\n", (3000, 9229)),
        ("FROM node\nEXPOSE 53/udp\n", ()),
        ("FROM node\nEXPOSE 8000-8010\n", (8000,)),
        ("FROM node\nEXPOSE 8000 \\\n  # the console\n  8001\nEXPOSE 8000\n", (8000, 8001)),
        ("FROM node\nENV PORT=3000 A='b c'\nEXPOSE ${PORT}\n", (3000,)),
        ("FROM node\nENV PORT 3000\nEXPOSE $PORT\n", (3000,)),
        ("FROM node\nEXPOSE $PORT ${OTHER:-81}\n", (81,)),
        ("FROM node\nEXPOSE 0 70000 http\n", ()),
        ("FROM node\n# EXPOSE 1\nRUN echo EXPOSE 2\n", ()),
        ("EXPOSE 80\nFROM node\n", ()),
        ("FROM node\r\nEXPOSE 3000\r\n", (3000,)),
        ("", ()),
    ],
)
def test_the_tcp_ports_are_those_of_expose(text: str, ports: tuple[int, ...]) -> None:
    assert built_image(text).exposed == ports


@pytest.mark.parametrize(
    ("text", "is_partial"),
    [
        ("FROM node\nEXPOSE 3000 53/udp 8000/TCP\n", False),
        ("FROM node\nENV PORT=3000\nEXPOSE $PORT\n", False),
        ("FROM node\nEXPOSE 8000-8010\n", True),
        ("FROM node\nARG PORT\nEXPOSE $PORT 9229\n", True),
        ("FROM node\nEXPOSE ${PORT 9229\n", True),
        ("FROM node\nEXPOSE http 9229\n", True),
        ("FROM node AS base\nEXPOSE 1000-2000\nFROM base\nEXPOSE 80\n", True),
        ("FROM node AS base\nEXPOSE 1000-2000\nFROM node\nEXPOSE 80\n", False),
        ("FROM node\nEXPOSE " + " ".join(map(str, range(8000, 8030))), True),
    ],
)
def test_a_range_or_a_variable_without_a_value_leaves_ports_unknown(text: str, *, is_partial: bool) -> None:
    assert built_image(text).is_partial is is_partial


STAGES = """\
ARG TAG=1.27
FROM node:20 AS base
ENV PORT=3000
EXPOSE 9000
FROM base AS dev
EXPOSE $PORT
FROM nginx:${TAG}-alpine
EXPOSE 80
"""


def test_the_last_stage_is_the_image_unless_another_is_the_target() -> None:
    assert built_image(STAGES) == BuiltImage((80,), "nginx:1.27-alpine")
    assert built_image(STAGES, "dev") == BuiltImage((9000, 3000), "node:20", mentioned=(3000,))
    assert built_image(STAGES, "Base") == BuiltImage((9000,), "node:20", mentioned=(3000,))
    assert built_image(STAGES, "none") == BuiltImage()


def test_an_argument_of_the_build_takes_the_place_of_its_default() -> None:
    text = "FROM node\nARG PORT=80\nARG DEBUG\nEXPOSE $PORT $DEBUG\n"
    assert built_image(text).exposed == (80,)
    assert built_image(text, None, {"PORT": "81", "DEBUG": "9229"}).exposed == (81, 9229)


def test_what_a_hostile_file_costs_is_bounded() -> None:
    many = "FROM a\n" * 10_000 + "EXPOSE " + " ".join(map(str, range(1, 5000)))
    assert len(built_image(many).exposed) <= MAX_PORTS
    assert built_image("FROM a\nENV 'x\nEXPOSE " + "${A" * 500).exposed == ()


@pytest.mark.parametrize(
    ("text", "check_port", "mentioned"),
    [
        ("FROM x\nHEALTHCHECK --interval=5s CMD curl -f http://localhost:8000/ || exit 1\n", 8000, ()),
        ("FROM x\nHEALTHCHECK CMD curl \\\n  http://127.0.0.1:8000\nHEALTHCHECK NONE\n", None, ()),
        ("FROM x\nENV PORT=8001\nHEALTHCHECK CMD curl http://localhost:${PORT}/\n", 8001, (8001,)),
        ("FROM x\nHEALTHCHECK CMD curl http://database:8000/\n", None, ()),
        ("FROM x\nHEALTHCHECK CMD curl http://localhost:8081/actuator/health\n", None, ()),
        ('FROM x\nCMD ["serve", "-l", "4000"]\nENTRYPOINT ["run", "--metrics", ":9100"]\n', None, (4000, 9100)),
        ("FROM x\nCMD serve 4000\nCMD serve 5000\n", None, (5000,)),
        ("FROM x AS base\nENV APP_PORT 3000\nFROM base\n", None, (3000,)),
        ("FROM x AS base\nCMD serve 4000\nFROM y\n", None, ()),
    ],
)
def test_the_health_check_the_command_and_the_variables_of_the_last_stage_speak_of_ports(
    text: str, check_port: int | None, mentioned: tuple[int, ...]
) -> None:
    image = built_image(text)
    assert (image.check_port, image.mentioned) == (check_port, mentioned)
