"""How the two sides of a port stand in the file, apart from what they are."""

from __future__ import annotations

import pytest

from cli.compose.reader import project_of

VARIABLES = {"BOTH": "80:8080", "IN": "8080", "OUT": "80", "V6": "[::1]"}


@pytest.mark.parametrize(
    ("entry", "target", "published"),
    [
        ("8080", "8080", ""),
        ("80:8080/tcp", "8080", "80"),
        ("${OUT}:${IN}", "${IN}", "${OUT}"),
        ("${IN:-9000}:${IN:-9000}", "${IN:-9000}", "${IN:-9000}"),
        ("127.0.0.1:${OUT-80}:${IN}/tcp", "${IN}", "${OUT-80}"),
        ("[::1]:80:${IN}", "${IN}", "80"),
        ("${IN}/tcp", "${IN}", ""),
        ("${BOTH}", "", ""),
        ("${V6}:80:8080", "", ""),
        ("{target: 8080, published: '${OUT}'}", "8080", "${OUT}"),
        ("{target: '${IN}'}", "${IN}", ""),
    ],
)
def test_variables_stay_on_the_side_that_they_fill(entry: str, target: str, published: str) -> None:
    written = entry if entry.startswith("{") else f'"{entry}"'
    text = f"services: {{web: {{ports: [{written}]}}}}".encode()
    [port] = project_of([("c.yml", text)], VARIABLES).checked().services["web"].ports
    assert (port.targets[0], port.written_target, port.written_published) == (8080, target, published)
