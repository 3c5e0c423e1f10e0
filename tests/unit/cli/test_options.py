"""The options that commands share: one spelling each, and the older ones beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.options import add_agent, add_destination, add_output, add_registry
from cli.parser import CommandParser


@pytest.fixture
def parser() -> CommandParser:
    return CommandParser("vertice try", "", "")


@pytest.mark.parametrize(
    "words", [["-o", "json"], ["-ojson"], ["--output", "json"], ["--output=json"], ["--json"], ["--format", "json"]]
)
def test_every_spelling_chooses_the_format(parser: CommandParser, words: list[str]) -> None:
    add_output(parser, older=("--json", "--format"))
    assert parser.read([]).output == "text"
    assert parser.read(words).output == "json"


def test_the_page_counts_the_older_spellings(parser: CommandParser) -> None:
    add_output(parser)
    assert "(--json: older spelling)" in " ".join(parser.format_help().split())


def test_an_older_spelling_is_known_only_where_it_was(parser: CommandParser) -> None:
    add_output(parser, older=())
    with pytest.raises(SystemExit):
        parser.read(["--json"])


def test_the_addresses_have_no_default_of_their_own(parser: CommandParser) -> None:
    add_agent(parser)
    add_registry(parser)
    assert vars(parser.read([])) == {"agent": None, "registry": None}
    assert parser.read(["--agent", "a:1", "--registry=b:2"]).registry == "b:2"


@pytest.fixture
def writer(parser: CommandParser) -> CommandParser:
    where = parser.add_mutually_exclusive_group()
    add_destination(parser, where, "the file")
    where.add_argument("--write", action="store_true")
    return parser


@pytest.mark.parametrize(
    ("words", "to", "output"),
    [
        ([], None, "text"),
        (["--to", "a.yml"], "a.yml", "text"),
        (["--to", "json", "-o", "json"], "json", "json"),
        (["--to", "-"], "-", "text"),
        (["--output", "a.yml"], "a.yml", "text"),
        (["-o", "-"], "-", "text"),
        (["--output", "./json", "-o", "json"], "json", "json"),
        (["--output", "./yaml"], "yaml", "text"),
        (["--write", "-o", "text"], None, "text"),
    ],
)
def test_output_still_names_a_file_where_it_did(
    writer: CommandParser, words: list[str], to: str | None, output: str
) -> None:
    arguments = writer.read(words)
    assert (arguments.to, arguments.output) == (None if to is None else Path(to), output)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--write", "--to", "a"], "--to cannot be combined with --write"),
        (["--write", "--output", "a.yml"], "--output FILE cannot be combined with --write"),
        (["--output", "a.yml", "--write"], "--output FILE cannot be combined with --write"),
        (["--output", ""], "--output: the name of a file is empty"),
        (["--output", "a.yml", "--to", "b"], "--output FILE cannot be combined with --to"),
        (["-o", "yaml"], "-o/--output: 'yaml' is not one of text, json; a file of that name: --to yaml"),
    ],
)
def test_only_one_destination_can_be_named(
    writer: CommandParser, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        writer.read(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"vertice: try: {said}; see `vertice try --help`\n"
