"""`vertice snapshot save` when the answer may be incomplete: it writes nothing."""

from __future__ import annotations

import argparse
import http.client
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.client import HttpResponse
from cli.commands import snapshot_save
from registry_core.api.schemas import CatalogView, instance_view
from registry_core.domain.catalog import Catalog
from registry_core.domain.records import Instance
from tests.samples import instance, lived

HELD = [instance(port=8001), instance(port=8002, metadata={"é": [1.5, None]}), instance("billing", port=8003)]


def answered(held: list[Instance] = HELD, **more: Any) -> bytes:
    """Return the answer of a replica that holds `held`."""
    catalog = Catalog()
    catalog.replace(lived(each) for each in held)
    fields = {"cursor": "0.a.1", "digest": catalog.digest, "state": "ready", "store_age_s": 0.5, **more}
    return msgspec.json.encode(CatalogView(**fields, instances=[instance_view(each, 1.0, 30.0) for each in held]))


def saved(monkeypatch: pytest.MonkeyPatch, path: Path, body: bytes, status: int = 200) -> int:
    monkeypatch.setattr(snapshot_save, "ask", lambda *_, **__: HttpResponse(status, http.client.HTTPMessage(), body))
    asked = argparse.Namespace(file=path, registry="http://far", allow_empty=False, output="text")
    return snapshot_save.run(asked, {})


def test_a_complete_answer_is_saved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert saved(monkeypatch, tmp_path / "file", answered()) == 0
    lines = [json.loads(line) for line in (tmp_path / "file").read_text().splitlines()]
    assert lines[0]["count"] == len(lines) - 1 == 3
    assert (lines[1]["last_heartbeat"], lines[1]["ttl_remaining"], lines[1]["suspect"]) == (1.0, 30, False)


def without(body: bytes) -> bytes:
    """Return the answer without one of its instances."""
    whole = json.loads(body)
    del whole["instances"][1]
    return json.dumps(whole).encode()


@pytest.mark.parametrize(
    ("bend", "said"),
    [
        (lambda body: body[: len(body) // 2], "answers, but is not a registry"),
        (lambda _: b"<html>", "answers, but is not a registry"),
        (lambda _: b'["billing"]', "answers, but is not a registry"),
        (without, "the answer of http://far does not match its digest"),
        (lambda body: body.replace(b'"port":8002', b'"port":8022'), "does not match its digest"),
        (lambda _: answered([HELD[0], HELD[0]]), "does not match its digest"),
        (lambda _: answered(state="warming"), "the registry at http://far is warming"),
        (lambda _: answered([]), "nothing is registered at http://far"),
    ],
)
def test_an_answer_that_may_be_incomplete_is_not_saved(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    bend: Callable[[bytes], bytes],
    said: str,
) -> None:
    file = tmp_path / "file"
    file.write_text("the last good one")
    assert saved(monkeypatch, file, bend(answered())) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "nothing was written" in err
    assert len(err.splitlines()) == 1
    assert file.read_text() == "the last good one"


def test_a_refusal_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert saved(monkeypatch, tmp_path / "file", b'{"message": "the token is wrong"}', 401) == 1
    assert capsys.readouterr().err == "vertice: the token is wrong: nothing was written\n"
