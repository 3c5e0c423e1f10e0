"""Variables are expanded as in a simple model, and written ports are read back."""

from __future__ import annotations

from typing import TypeAlias

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cli.compose.errors import ComposeError, Place
from cli.compose.interpolation import BadVariable, fill
from cli.compose.ports import port_of
from cli.compose.tree import Scalar

NAMES = ("A", "B", "LONG_1")
# A text is a list of pieces: literal text, or (name, operator, word), where the word is a text again.
Piece: TypeAlias = "str | tuple[str, str, Text]"
Text: TypeAlias = list[Piece]

# A brace in a default is paired with another, and a dollar that begins nothing is a dollar.
literals = st.text("ab:/-?+.0 ", max_size=6) | st.sampled_from(["{ab}", "$ ", "$1", "$-"])
references: st.SearchStrategy[Piece] = st.tuples(st.sampled_from(NAMES), st.sampled_from(["", "plain"]), st.just([]))


def _more(inner: st.SearchStrategy[Text]) -> st.SearchStrategy[Text]:
    braced = st.tuples(st.sampled_from(NAMES), st.sampled_from([":-", "-", ":+", "+"]), inner)
    return st.lists(literals | references | braced, max_size=3)


texts: st.SearchStrategy[Text] = st.recursive(st.lists(literals | references, max_size=3), _more, max_leaves=8)
environments = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["", "x", "http://h:1", "$A", "}"]))


def written(text: Text) -> str:
    """Return a text in the syntax of a compose file."""
    parts = []
    for piece in text:
        if isinstance(piece, str):
            parts.append(piece)
        else:
            name, operator, word = piece
            # The braces, also where they are not needed: "$A" before a letter would be another name.
            parts.append(f"${{{name}}}" if operator in ("", "plain") else f"${{{name}{operator}{written(word)}}}")
    return "".join(parts)


def meant(text: Text, variables: dict[str, str]) -> str:
    """Return the value by Compose's documentation."""
    parts = []
    for piece in text:
        if isinstance(piece, str):
            parts.append(piece)
            continue
        name, operator, word = piece
        value = variables.get(name)
        match operator:
            case ":-":
                parts.append(value or meant(word, variables))
            case "-":
                parts.append(meant(word, variables) if value is None else value)
            case ":+":
                parts.append(meant(word, variables) if value else "")
            case "+":
                parts.append("" if value is None else meant(word, variables))
            case _:
                parts.append(value or "")
    return "".join(parts)


@given(texts, environments)
@example([("A", ":-", [("B", "-", ["b", ("A", "+", ["x"])])])], {"A": ""})
def test_variables_are_expanded_as_in_the_model(text: Text, variables: dict[str, str]) -> None:
    assert fill(written(text), variables).text == meant(text, variables)


@given(st.text(max_size=30))
def test_a_text_with_doubled_dollars_is_restored(text: str) -> None:
    assert fill(text.replace("$", "$$"), {}).text == text


@given(st.text("${}:-?+AB $", max_size=30), environments)
def test_any_text_is_expanded_or_refused_in_one_line(text: str, variables: dict[str, str]) -> None:
    try:
        said = fill(text, variables).text
    except BadVariable as error:
        said = str(error)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "required"),
    [
        ("${A:?give one}", "A"),
        ("${C?}", "C"),
        ("${B:-${A:?}}", "A"),
        ("${", None),
        ("${A:-x\n}", None),
        ("${A!}", None),
    ],
)
def test_an_expansion_error_gives_the_reason(text: str, required: str | None) -> None:
    with pytest.raises(BadVariable) as error:
        fill(text, {"A": ""})
    assert error.value.required == required


def test_a_given_variable_satisfies_a_requirement() -> None:
    assert fill("${A:?x}${B?y}${A?z}", {"A": "1", "B": ""}).text == "11"
    assert fill("${A}$A-${B:-$C}", {}).unset == ("A", "C")


def test_nesting_is_bounded() -> None:
    with pytest.raises(BadVariable, match="deep"):
        fill("${A:-" * 50 + "x" + "}" * 50, {})


ports = st.integers(1, 65535)
spans = st.tuples(ports, st.integers(0, 3)).map(lambda p: range(p[0], min(65535, p[0] + p[1]) + 1))


def span(numbers: range) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"


@given(
    spans,
    st.none() | spans,
    st.sampled_from(["", "127.0.0.1", "[::1]"]),
    st.sampled_from(["", "tcp", "udp"]),
)
def test_a_written_port_is_read_back(targets: range, published: range | None, ip: str, protocol: str) -> None:
    shown = "" if published is None else span(published)
    text = f"{ip}:{shown}:" if ip else f"{shown}:" if shown else ""
    text += span(targets) + (f"/{protocol}" if protocol else "")
    scalar = Scalar(text, Place(), text)
    if published and len(targets) > 1 and len(published) != len(targets):
        with pytest.raises(ComposeError, match="publishes"):
            port_of(scalar)
        return
    port = port_of(scalar)
    assert (port.targets, port.published, port.host_ip) == (targets, published or range(0), ip.strip("[]"))
    assert port.protocol == (protocol or "tcp")
    pairs = list(port.pairs())
    assert pairs == (list(zip(published, targets, strict=True)) if published and len(published) == len(targets) else [])
