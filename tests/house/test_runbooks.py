"""Alerts and runbooks are in step: each alert has its page, and what a page tells people to run or read exists."""

from __future__ import annotations

import re

import pytest
import yaml

from cli.main import main
from tools.documents import DOCS
from tools.sources import ROOT

FOLDER = DOCS / "runbooks"
PAGES = {page.stem: page.read_text(encoding="utf-8") for page in FOLDER.glob("*.md") if page.stem != "README"}
PARTS = ["## Look at", "## Do", "## When it is no alarm"]
COMMAND = re.compile(r"`vertice ([a-z -]+?)((?: --?[a-z][a-z-]*(?: [A-Z]+)?)*)`")


def alerts() -> dict[str, str]:
    """Return the severity of each alert."""
    rules = yaml.safe_load((ROOT / "compose" / "observability" / "rules.yml").read_text(encoding="utf-8"))
    every = [rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule]
    return {rule["alert"]: rule["labels"]["severity"] for rule in every}


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    assert set(PAGES) == set(alerts())


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_says_what_it_means_what_to_look_at_what_to_do_and_when_it_is_no_alarm(name: str) -> None:
    text = PAGES[name]
    assert text.startswith(f"# {name}: ")
    meaning, *parts = re.split(r"(?m)^(?=## )", text)
    assert len(meaning.splitlines()) > 2
    assert [part.splitlines()[0] for part in parts] == PARTS
    assert all("\n- " in part for part in parts)


def test_the_list_of_pages_has_their_severities() -> None:
    listed = dict(re.findall(r"^\| \[(\w+)\]\(\w+\.md\) \| (\w+)", (FOLDER / "README.md").read_text(), re.MULTILINE))
    assert listed == {name: "critical" if "{{" in severity else severity for name, severity in alerts().items()}


def test_every_command_of_a_page_takes_the_options_that_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    named = {found for text in PAGES.values() for found in COMMAND.findall(text)}
    assert len(named) >= 10
    for command, options in sorted(named):
        with pytest.raises(SystemExit):
            main([*(word for word in command.split() if word.islower()), "--help"])
        shown = capsys.readouterr().out
        for option in re.findall(r"--?[a-z][a-z-]*", options):
            assert option in shown, f"vertice {command}: {option}"
