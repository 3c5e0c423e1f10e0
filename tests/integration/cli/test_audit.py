"""`vertice audit`: in a folder without a registry, and of a running one; on logs as they were written and altered."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from registry_core.ports.audit import AuditEntry
from registry_core.security.audit.heads import SignedHead
from registry_core.security.audit.key import signer_in
from registry_core.security.audit.lines import iso, line_of
from registry_core.security.audit.notes import COSIGNATURE
from registry_core.security.audit.writing import keep_head
from tests.audit_logs import LINES, WrittenLog, segment_files, written
from tests.commands import command
from tests.programs import VERTICE, accepts, free_port, running, wait_until

SECRET = "a-long-random-word"
WARNING = "vertice: no --trust of vertice-audit/eu-1a was given"


def audit(*words: str | Path, secret: str = "") -> subprocess.CompletedProcess[str]:
    return command("audit", *words, REGISTRY_SECRET=secret) if secret else command("audit", *words)


def verify(folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return audit("verify", folder, "--trust", folder / "key.pub", *words)


def test_a_log_as_it_was_written_is_verified(tmp_path: Path) -> None:
    written(tmp_path)
    done = verify(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "the 40 lines of vertice-audit/eu-1a are as they were logged\n"
    shown = json.loads(verify(tmp_path, "-o", "json").stdout)
    assert (shown["lines"], shown["faults"], shown["after_head"]) == (40, [], 0)


def test_without_a_key_the_logs_own_is_used_with_a_warning(tmp_path: Path) -> None:
    written(tmp_path)
    done = audit("verify", tmp_path)
    assert done.returncode == 0
    assert done.stderr.startswith(WARNING)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def of_lines(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    def changed(path: Path) -> None:
        path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))

    return changed


ALTERATIONS: dict[str, Callable[[Path], None]] = {
    "a flipped byte": flip,
    "a dropped line": of_lines(lambda lines: [*lines[:4], *lines[5:]]),
    "swapped lines": of_lines(lambda lines: [lines[1], lines[0], *lines[2:]]),
    "a line more": of_lines(lambda lines: [*lines[:4], b"{}\n", *lines[4:]]),
    "a truncated file": of_lines(lambda lines: lines[:-2]),
    "a file cut within a line": lambda path: os.truncate(path, path.stat().st_size - 3),
    "a missing file": lambda path: path.unlink(),
}


@pytest.mark.parametrize("alteration", ALTERATIONS)
@pytest.mark.parametrize("segment", [0, 1, 2])
def test_an_altered_log_is_not_verified(tmp_path: Path, alteration: str, segment: int) -> None:
    written(tmp_path)
    ALTERATIONS[alteration](segment_files(tmp_path)[segment])
    done = verify(tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith("WRONG  line")


@pytest.mark.parametrize("name", ["tree", "head"])
def test_altered_hashes_and_heads_are_noticed(tmp_path: Path, name: str) -> None:
    written(tmp_path)
    flip(tmp_path / name)
    done = verify(tmp_path)
    assert done.returncode == 1, done.stdout


def forge(log: WrittenLog, folder: Path, lines: tuple[bytes, ...]) -> Path:
    """Write another log with the same key and name: a thief of the machine has those."""
    folder.mkdir()
    for name in ("key.pem", "key.pub"):
        shutil.copy(log.folder / name, folder / name)
    return written(folder, lines).folder


def test_an_old_head_alone_finds_out_a_log_that_was_rewritten_or_rolled_back(tmp_path: Path) -> None:
    log = WrittenLog(tmp_path / "a").write(LINES[:20])
    old = tmp_path / "old-head"
    old.write_text(str(log.end.head))
    log.write(LINES[20:]).close()
    assert verify(log.folder, "--head", old).returncode == 0
    assert audit("consistency", old, log.folder, "--trust", log.folder / "key.pub").stdout == (
        "vertice-audit/eu-1a: the 40 lines of now continue the 20 of then\n"
    )
    forgeries = {
        "does not continue that of 20": forge(log, tmp_path / "b", (*LINES[:7], b"{}", *LINES[8:])),
        "the log went back: it had 20 lines, and now has 12": forge(log, tmp_path / "c", LINES[:12]),
        "there are two different logs of 20 lines": forge(log, tmp_path / "d", LINES[20:]),
    }
    for fault, folder in forgeries.items():
        assert verify(folder).returncode == 0, "by itself it is sound"
        for done in (verify(folder, "--head", old), audit("consistency", old, folder, "--trust", folder / "key.pub")):
            assert (done.returncode, fault in done.stdout) == (1, True), done.stdout
    another = written(tmp_path / "e").folder
    done = audit("consistency", old, another, "--trust", log.folder / "key.pub", "-o", "json")
    assert (done.returncode, len(json.loads(done.stdout)["faults"])) == (1, 1), "another key has signed it"


def test_a_kept_head_is_brought_up_to_date_while_the_log_continues_it(tmp_path: Path) -> None:
    log, kept = WrittenLog(tmp_path / "a").write(LINES[:20]), tmp_path / "kept"
    words = ("consistency", kept, log.folder, "--trust", log.folder / "key.pub", "--update")
    for batch in (LINES[20:30], LINES[30:]):
        assert audit(*words).returncode == 0
        assert kept.read_text() == (log.folder / "head").read_text()
        log.write(batch)
    rolled_back = forge(log.close(), tmp_path / "b", LINES[:12])
    before = kept.read_text()
    done = audit("consistency", kept, rolled_back, "--trust", log.folder / "key.pub", "--update")
    assert (done.returncode, kept.read_text()) == (1, before)


def test_the_countersigned_head_is_checked_and_its_witnesses_are_named(tmp_path: Path) -> None:
    log = written(tmp_path / "a")
    (tmp_path / "b").mkdir()
    witness = signer_in(tmp_path / "b", "vertice-audit/eu-1b")
    head = log.end.head
    note = head.note.with_signatures([witness.cosign(head.head.body, 1_700_000_000)])
    keep_head(log.folder, "head.countersigned", SignedHead(head.head, note))
    for key in (str(witness.verifier), str(witness.verifier.of_kind(COSIGNATURE)), str(tmp_path / "b" / "key.pub")):
        done = verify(log.folder, "--trust", key)
        assert done.stdout.splitlines()[1:] == [
            "the first 40 were countersigned by vertice-audit/eu-1b at 2023-11-14T22:13:20Z"
        ]
    rolled_back = forge(log, tmp_path / "c", LINES[:12])
    shutil.copy(log.folder / "head.countersigned", rolled_back)
    done = verify(rolled_back)
    assert (done.returncode, "the log went back" in done.stdout) == (1, True)


def test_a_proof_needs_no_log(tmp_path: Path) -> None:
    log = written(tmp_path / "a")
    proof = tmp_path / "line-17.tlog-proof"
    assert audit("prove", "17", log.folder, "--to", proof).returncode == 0
    assert audit("prove", "17", log.folder).stdout == proof.read_text()
    shutil.copy(log.folder / "key.pub", tmp_path / "key.pub")
    shutil.rmtree(log.folder)
    done = audit("verify", "--proof", proof, "--trust", tmp_path / "key.pub")
    assert done.returncode == 0
    assert done.stdout == f"line 17 is in the log vertice-audit/eu-1a of 40 lines: {LINES[17].decode()}\n"
    proof.write_text(proof.read_text().replace("index 17", "index 18"))
    done = audit("verify", "--proof", proof, "--trust", tmp_path / "key.pub")
    assert done.returncode == 1
    assert done.stdout.startswith("WRONG  line 18 is not the one that the head was signed over")
    other = written(tmp_path / "b").folder
    done = audit("verify", "--proof", proof, "--trust", other / "key.pub", "-o", "json")
    assert (done.returncode, len(json.loads(done.stdout)["faults"])) == (1, 2)


def test_what_is_not_there_or_not_usable_has_its_exit_code(tmp_path: Path) -> None:
    log = written(tmp_path / "a").folder
    done = audit("prove", "40", log)
    assert (done.returncode, done.stderr) == (3, f"vertice: there is no line 40 in {log}, or it is not kept\n")
    (tmp_path / "empty").mkdir()
    done = audit("show", tmp_path / "empty", "-n", "1")
    assert (done.returncode, "there is no audit log in it" in done.stderr) == (1, True)
    (tmp_path / "no-head").write_text("a\n")
    for words in (
        ("show", tmp_path / "missing"),
        ("verify", log, "--head", tmp_path / "no-head"),
        ("verify", log, "--head", tmp_path / "missing"),
        ("verify", "--proof", tmp_path / "no-head", "--trust", log / "key.pub"),
        ("verify", "--proof", tmp_path / "no-head"),
        ("verify", log, "--proof", tmp_path / "no-head", "--trust", log / "key.pub"),
        ("verify", log, "--trust", tmp_path / "no-head"),
        ("verify", log, "--trust", "a+b+c"),
        ("consistency", tmp_path / "missing", log),
        ("prove", "x", log),
        ("show", log, "--since", "yesterday"),
        ("show", log, "--registry", "127.0.0.1:1"),
    ):
        done = audit(*words)
        assert done.returncode == 2, words
        assert done.stderr.startswith("vertice: ")
    assert audit("show", "--registry", "127.0.0.1:1").returncode == 1


def test_lines_are_shown_and_filtered(tmp_path: Path) -> None:
    at = 1_769_904_000.0
    entries = [
        AuditEntry(time=at, operation="register", status=201, result="done", service="ip_intel", who="operator"),
        AuditEntry(
            time=at + 60, operation="register", status=403, result="Forbidden", service="billing", who="service:x",
            client="10.0.0.7", reason="not \x1b[31myours",
        ),
        AuditEntry(time=at + 120, operation="deregister", status=404, result="NotFound", service="ip-intel"),
    ]  # fmt: skip
    WrittenLog(tmp_path).write([line_of(entry, "eu-1a") for entry in entries]).close()

    def shown(*words: str) -> list[str]:
        done = audit("show", tmp_path, *words)
        assert done.returncode == 0
        return [line.partition("#")[2][:1] for line in done.stdout.splitlines()]

    assert shown() == ["0", "1", "2"]
    assert shown("--service", "ip-intel") == ["0", "2"]
    assert shown("--who", "operator") == ["0"]
    assert shown("--result", "forbidden") == ["1"]
    assert shown("--result", "refused") == ["1", "2"]
    assert shown("--since", iso(at + 60)) == ["1", "2"]
    assert shown("--since", "1h") == []
    assert shown("-n", "1") == ["2"]
    text = audit("show", tmp_path).stdout.splitlines()[1]
    assert text.startswith("2026-02-01T00:01:00.000Z  #1  register  Forbidden  billing  by service:x 10.0.0.7  not ")
    assert "\x1b" not in text
    (record,) = audit("show", tmp_path, "--who", "operator", "-o", "json").stdout.splitlines()
    assert json.loads(record)["number"] == 0


class RunningRegistry(NamedTuple):
    url: str
    folder: Path


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    """A registry with an audit log and a secret, at which something was registered."""
    port, folder = free_port(), tmp_path / "audit"
    env = {"REGISTRY_SECRET": SECRET, "REGISTRY_AUDIT": str(folder), "REGISTRY_AUDIT_NAME": "eu-1a"}
    with running([*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"], tmp_path / "log", env):
        wait_until(lambda: accepts(port), "the registry listens")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        body = json.dumps({"service_name": "ip_intel", "host": "10.0.0.7", "port": 8034})
        headers = {"Content-Type": "application/json", "X-Registry-Token": SECRET}
        connection.request("POST", "/register", body, headers)
        assert connection.getresponse().status == 201
        connection.close()
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: "register" in audit("show", "--registry", url, secret=SECRET).stdout, "its line")
        yield RunningRegistry(url, folder)


def test_a_running_registry_is_asked_with_its_secret(registry: RunningRegistry, tmp_path: Path) -> None:
    url, folder = registry

    def asked(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return audit(*words, "--registry", url, secret=SECRET)

    key = folder / "key.pub"
    done = asked("verify", "--trust", key)
    assert done.returncode == 0, done.stdout + done.stderr
    assert asked("verify").stderr.startswith(WARNING)
    old = tmp_path / "old"
    old.write_text((folder / "head").read_text())
    assert asked("consistency", old, "--trust", key).returncode == 0
    proof = tmp_path / "proof"
    assert asked("prove", "1", "--to", proof).returncode == 0
    assert audit("verify", "--proof", proof, "--trust", key).returncode == 0
    assert asked("prove", "99").returncode == 3
    assert audit("verify", folder, "--trust", key).returncode == 0, "also beside the running registry"
    refused = audit("show", "--registry", url)
    assert (refused.returncode, refused.stdout) == (1, "")


def test_a_registry_that_shows_altered_lines_is_found_out(registry: RunningRegistry) -> None:
    url, folder = registry
    flip(segment_files(folder)[0])
    done = audit("verify", "--registry", url, "--trust", folder / "key.pub", secret=SECRET)
    assert done.returncode == 1
    assert "are not those that the head was signed over" in done.stdout


def test_followed_lines_appear_until_it_is_interrupted(tmp_path: Path) -> None:
    log = WrittenLog(tmp_path / "a").write(LINES[:2])
    with running([*VERTICE, "audit", "show", str(log.folder), "--follow"], tmp_path / "log") as program:
        wait_until(lambda: "#1" in program.output(), "the lines so far")
        log.write(LINES[2:3]).close()
        wait_until(lambda: "#2" in program.output(), "a further line")
        assert program.output().count("#0") == 1
