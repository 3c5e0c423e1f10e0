"""Arguments are read by the readers of settings, and refused in one line."""

from __future__ import annotations

import argparse

import pytest

from cli.arguments import argument
from registry_core.settings import http_url


def test_an_argument_is_what_its_reader_returns() -> None:
    assert argument(http_url, "http://a:1")("http://a.example:8888/") == "http://a.example:8888"


def test_a_refused_argument_is_one_line_with_an_example_and_without_a_password() -> None:
    with pytest.raises(argparse.ArgumentTypeError) as refusal:
        argument(http_url, "http://a:1")("http://me:s3cret@a\n\x1b[2J")
    said = str(refusal.value)
    assert said.endswith("(example: http://a:1)")
    assert said.isprintable()
    assert "s3cret" not in said
