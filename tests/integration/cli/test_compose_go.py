"""Our reading of compose files, judged by compose-go: the library that `docker compose` reads them with."""

from __future__ import annotations

import itertools
import json
import random
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from cli.compose.env_file import filled_in, statements_of
from cli.compose.errors import ComposeError
from cli.compose.interpolation import BadVariable, fill
from cli.compose.reader import read_project
from cli.compose.refusals import SERVICE_KEYS, TOP_KEYS
from cli.compose.shell_words import BadCommand, words_of
from cli.compose.yaml_values import as_passed_on
from tests.compose_judge import CASES, asked, library, ours, texts_of, theirs
from tests.go_programs import BUILD_TIMEOUT_S

# The first one builds the judge, with all that it imports.
pytestmark = [pytest.mark.timeout(BUILD_TIMEOUT_S + 120), pytest.mark.untraced]

SEED: Final = 20_240_229
# What Compose looks up in the environment as well as what its own tests do.
VARIABLES: Final = {"HOME": "/home/foo", "FOO": "foo", "EMPTY": ""}
# Told by us about keys alone. Compose refuses the first two as well; a question leaves that out with `unchecked`.
OF_KEYS: Final = frozenset({"undefined-network", "network-mode", "misspelt-key", "unknown-key"})

# Compose takes a list as the value of a variable where two files are merged, and nowhere else; and it leaves a port
# that is none to Docker.
OURS_ALONE: Final = ("environment.FOO is a list, not a value", "'example.com:8080' is not a port")

Files = Sequence[Path]


def compared(projects: Sequence[Files]) -> tuple[list[str], int]:
    """Return how our models of these projects differ from Compose's, and how many are the same.

    Compose checks more than we read; what we refuse, Compose has to refuse.
    """
    questions = [{"files": [str(f) for f in files], "environment": VARIABLES, "unchecked": True} for files in projects]
    differences: list[str] = []
    same = 0
    for files, answer in zip(projects, asked(questions), strict=True):
        mine, refused = _read(files)
        name = " + ".join(str(f) for f in files)
        if "error" in answer or any(reason in refusal for reason in OURS_ALONE for refusal in refused):
            continue
        if refused:
            differences.append(f"{name}: only we refuse it: {refused[0]}")
            continue
        found = list(_differences(mine, theirs(answer["project"]), ""))
        differences += [f"{name}{difference}" for difference in found]
        same += not found
    return differences, same


def _read(files: Files) -> tuple[Any, list[str]]:
    try:
        project = read_project(files, VARIABLES)
    except ComposeError as error:
        return None, [str(error)]
    # What `expose` says is read by us, and by nobody in Compose.
    problems = [p for p in project.problems if p.code not in OF_KEYS and not (p.field or "").endswith(".expose")]
    return ours(project), [str(problem) for problem in problems]


def _differences(mine: Any, other: Any, path: str) -> Iterator[str]:
    if isinstance(mine, dict) and isinstance(other, dict):
        for key in sorted({*mine, *other}):
            yield from _differences(mine.get(key, "absent"), other.get(key, "absent"), f"{path}.{key}")
    elif mine != other:
        yield f"{path}: ours {mine!r}, theirs {other!r}"


# -- whole files


def test_every_case_comes_to_the_model_that_compose_makes_of_it() -> None:
    cases = [[path] for path in sorted(CASES.glob("*.yml"))]
    cases.append([CASES / "33-empty-second-file.yml", CASES / "33.empty"])
    differences, same = compared(cases)
    assert differences == []
    assert same == len(cases) - len(REFUSED_CASES)


REFUSED_CASES: Final = (
    "21-merge-key-twice.yml",
    "22-environment-of-maps.yml",
    "23-undefined-network.yml",
    "29-reset-in-first-file.yml",
)


def test_what_compose_refuses_of_the_cases_we_refuse() -> None:
    answers = asked([{"files": [str(CASES / name)], "environment": {}} for name in REFUSED_CASES[:3]])
    assert all("error" in answer for answer in answers)
    for name in REFUSED_CASES[:3]:
        assert read_project([CASES / name]).problems, name


def test_every_file_in_the_tests_of_compose_comes_to_the_same_model(tmp_path: Path) -> None:
    # A copy: Go's cache is not to be written to, and names the project after its own folder.
    shutil.copytree(library(), tmp_path / "go", copy_function=shutil.copy)
    projects = [[path] for path in sorted((tmp_path / "go").glob("*/testdata/**/*.y*ml"))]
    differences, same = compared(projects)
    assert differences == []
    assert same > 35


def _texts(folder: Path) -> Iterator[list[str]]:
    for go_file in sorted(folder.glob("*/*_test.go")) + sorted(folder.glob("*/*/*_test.go")):
        yield [text for text in texts_of(go_file) if "services:" in text]


def _written(texts: Iterable[tuple[str, ...]], folder: Path) -> list[list[Path]]:
    """Write each group of texts as the files of a project of its own."""
    projects = []
    for at, group in enumerate(texts):
        (folder / f"p{at}").mkdir(parents=True)
        files = [folder / f"p{at}" / f"c{number}.yml" for number in range(len(group))]
        for file, text in zip(files, group, strict=True):
            file.write_text(text, encoding="utf-8")
        projects.append(files)
    return projects


def test_every_text_in_the_tests_of_compose_comes_to_the_same_model(tmp_path: Path) -> None:
    projects = _written(((text,) for texts in _texts(library()) for text in texts), tmp_path)
    differences, same = compared(projects)
    assert differences == []
    assert same > 400


def test_each_text_in_the_tests_of_compose_laid_over_the_one_before_it_comes_to_the_same_model(tmp_path: Path) -> None:
    pairs = (pair for texts in _texts(library()) for pair in itertools.pairwise(texts))
    differences, same = compared(_written(pairs, tmp_path))
    assert differences == []
    assert same > 300


def test_the_keys_that_we_know_are_those_of_compose() -> None:
    (answer,) = asked([{"schema": True}])
    schema = answer["schema"]

    def keys(part: dict[str, Any]) -> set[str]:
        inner = [keys(schema["$defs"][part["$ref"].rpartition("/")[2]])] if "$ref" in part else []
        return set(part.get("properties", {})).union(*inner, *(keys(one) for one in part.get("allOf", [])))

    assert keys(schema["$defs"]["service"]) == SERVICE_KEYS
    assert set(schema["properties"]) == TOP_KEYS


# -- the parts that are a language of their own


def _made(pieces: Sequence[str], longest: int, count: int) -> list[str]:
    draw = random.Random(SEED)
    return ["".join(draw.choice(pieces) for _ in range(draw.randint(1, longest))) for _ in range(count)]


def test_variables_are_filled_in_as_compose_does_it() -> None:
    pieces = ["$", "$$", "${", "}", "{", "{}", "FOO", "EMPTY", "NONE", ":-", "-", ":?", "?", ":+", "+", "x", " ", "\n"]
    pieces += ["${FOO", "${NONE:-", "${EMPTY:-", "$FOO", '"', "1"]
    texts = _made(pieces, 12, 5000)
    answers = asked([{"template": text, "environment": VARIABLES} for text in texts])
    assert [_filled(text) for text in texts] == [answer.get("text") for answer in answers]


def _filled(text: str) -> str | None:
    try:
        return fill(text, VARIABLES).text
    except BadVariable:
        return None


def test_env_files_are_read_as_compose_does_it() -> None:
    draw = random.Random(SEED)
    pieces = ['"', "'", "\\", "\n", " #", "#", " ", "\t", "$A", "${FOO:-x}", "$FOO", "$$", "\\n", '\\"', "\\'", "\\$"]
    pieces += ["\\0123", "\\07", "\\0377", "\\0400", "x", "1", ".", "é", "\\q", "\r", "=", ":"]
    values = iter(_made(pieces, 6, 20_000))

    def line() -> str:
        name = draw.choice(["A", "B", "C", "export A", "D.e", "X ", " Y", "export\tZ", "# c", "", "FOO"])
        if name in ("", "# c") or draw.random() < 0.1:
            return name
        value, quote = next(values), draw.choice(["", "", '"', "'"])
        value = f"{quote}{value.replace(quote, '')}{quote}" if quote else value
        return f"{name}{draw.choice(['=', '=', ': ', ' = '])}{value}{draw.choice(['', '', ' # c', ' ', chr(13)])}"

    texts = ["\n".join(line() for _ in range(draw.randint(1, 4))) + "\n" for _ in range(5000)]
    answers = asked([{"env_file": text, "environment": VARIABLES} for text in texts])
    for text, answer in zip(texts, answers, strict=True):
        reported: list[ComposeError] = []
        known: dict[str, str] = {}
        filled_in(statements_of(text, "e", reported.append), VARIABLES, known, "e", reported.append)
        values_there = answer.get("values", {})
        if "" in values_there:
            # Compose takes a value without a name for that of an empty one, which no container can have.
            continue
        assert bool(reported) == ("error" in answer), text
        assert reported or known == values_there, text


def _environment_of(bodies: Sequence[dict[str, Any] | str], folder: Path) -> list[Any]:
    texts = (f"services: {{web: {body if isinstance(body, str) else json.dumps(body)}}}\n" for body in bodies)
    projects = _written(((text,) for text in texts), folder)
    return asked([{"files": [str(file) for file in files], "environment": {}} for files in projects])


def test_numbers_are_passed_on_as_compose_does_it(tmp_path: Path) -> None:
    values = [*_made("0123456789.e+-xob", 7, 2000), "010", "1e21", "1e-7", "-0", "0777", "2020-1-2", "True"]
    values = [value for value in values if value[0] not in ".-" or value[1:2].isdigit()]
    lines = "".join(f"\n      V{at}: {value}" for at, value in enumerate(values))
    (tmp_path / "c.yml").write_text(f"services:\n  web:\n    image: i\n    environment:{lines}\n", encoding="utf-8")
    (answer,) = asked([{"files": [str(tmp_path / "c.yml")], "environment": {}}])
    environment = answer["project"]["services"]["web"]["environment"]
    assert {v: as_passed_on(v) for v in values} == {v: environment[f"V{at}"] for at, v in enumerate(values)}


def test_commands_are_split_as_compose_does_it(tmp_path: Path) -> None:
    commands = _made([*"ab1 \t'\"\\()`;&|<>", "$$", "$$(", "x y", " ", "2>"], 9, 1500)
    answers = _environment_of([{"image": "i", "command": command} for command in commands], tmp_path)
    for command, answer in zip(commands, answers, strict=True):
        theirs_words = None if "error" in answer else answer["project"]["services"]["web"]["command"] or []
        assert _words(command.replace("$$", "$")) == theirs_words, command


def _words(command: str) -> list[str] | None:
    try:
        return words_of(command)
    except BadCommand:
        return None


@pytest.mark.parametrize("form", ["", "raw"])
def test_env_files_of_a_service_are_read_as_compose_does_it(tmp_path: Path, form: str) -> None:
    (tmp_path / "a.env").write_text("A=a\nB='b $A'\nC=$A-$OWN\nFOO\nNONE\nOWN=a\nLAST=1\n", encoding="utf-8")
    (tmp_path / "b.env").write_bytes(b'\xef\xbb\xbfLAST=2\r\nD=${C:-c} # said\r\nE="e\\n$FOO"\n')
    form = f", format: {form}" if form else ""
    files = f"[{{path: a.env{form}}}, {{path: b.env{form}}}, {{path: none.env, required: false}}]"
    text = f"services: {{web: {{image: i, env_file: {files}, environment: {{OWN: own, NONE: }}}}}}\n"
    (tmp_path / "c.yml").write_text(text, encoding="utf-8")
    (tmp_path / "d.yml").write_text("services: {web: {env_file: a.env}}\n", encoding="utf-8")
    differences, same = compared([[tmp_path / "c.yml"], [tmp_path / "c.yml", tmp_path / "d.yml"]])
    assert (differences, same) == ([], 2)


def test_label_files_are_read_as_compose_does_it(tmp_path: Path) -> None:
    (tmp_path / "a.labels").write_text("a.b=1\nc=$FOO\nown=file\n", encoding="utf-8")
    text = "services: {web: {image: i, label_file: [a.labels, b.labels], labels: {own: 010}}}\n"
    (tmp_path / "c.yml").write_text(text, encoding="utf-8")
    (tmp_path / "b.labels").write_text("a.b=2\nd=${c}-$own\n", encoding="utf-8")
    (tmp_path / "d.yml").write_text("services: {web: {label_file: a.labels, labels: [c=3]}}\n", encoding="utf-8")
    differences, same = compared([[tmp_path / "c.yml"], [tmp_path / "c.yml", tmp_path / "d.yml"]])
    assert (differences, same) == ([], 2)
