"""`vertice snapshot` against real registries: from one Redis to another, and against other servers."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.commands import snapshot_save
from tests.commands import command
from tests.programs import VERTICE, accepts, free_port, running, wait_until
from tests.redis_topology import redis_server

pytestmark = pytest.mark.long

TOKEN = "a-long-random-word"
WRONG = "this is not the signature of key 'shared' for this request: its secret is another"


def snapshot(*words: str | Path, token: str = TOKEN) -> subprocess.CompletedProcess[str]:
    return command("snapshot", *words, VERTICE_REGISTRY_TOKEN=token)


@contextlib.contextmanager
def registry(folder: Path, **settings: str) -> Iterator[str]:
    """Run a replica, which is ready at once unless told otherwise, and yield its URL."""
    port = free_port()
    given = {"REGISTRY_SECRET": TOKEN, "REGISTRY_WARMING": "0", **settings}
    folder.mkdir(exist_ok=True)
    with running([*VERTICE, "registry", "--listen", f"127.0.0.1:{port}"], folder / "log", given):
        wait_until(lambda: accepts(port), "the registry listens")
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def source(tmp_path: Path) -> Iterator[str]:
    with registry(tmp_path / "source") as url:
        yield url


def call(url: str, method: str, path: str, body: object = None) -> Any:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    headers = {"Content-Type": "application/json", "X-Registry-Token": TOKEN}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    assert response.status < 300, answer
    return answer


def register(url: str, name: str = "billing", port: int = 8034, **more: Any) -> None:
    call(url, "POST", "/register", {"service_name": name, "host": "10.0.0.7", "port": port, **more})


def catalog(url: str) -> Any:
    return call(url, "GET", "/catalog")


def leases(url: str) -> dict[str, float]:
    return {i["instance_id"]: i["last_heartbeat"] for i in catalog(url)["instances"]}


def fill(url: str) -> None:
    """Register some instances of every kind."""
    for number in range(40):
        register(url, f"service_{number % 7}", 8000 + number, tags=["blue"], weight=1 + number, epoch=number)
    register(url, "mail_relay", 2525, protocol="tcp", version="1.4.2", zone="z1", metadata={"a": [1, 2.5, {"é": None}]})
    register(url, "billing", 9000, instance_id="billing-a")
    call(url, "PUT", "/status/billing/billing-a", {"status": "draining"})


def test_a_whole_registry_moves_from_one_redis_to_another(tmp_path: Path) -> None:
    file = tmp_path / "fleet.snapshot"
    with redis_server(tmp_path / "r1") as old, redis_server(tmp_path / "r2") as new:
        with registry(tmp_path / "source", REGISTRY_STORE=old.url) as url:
            fill(url)
            before = catalog(url)
            saved = snapshot("save", file, "--registry", url)
            assert (saved.returncode, saved.stderr) == (0, "")
            assert saved.stdout == f"saved 42 instances of {url} to {file}\n"
        with registry(tmp_path / "target", REGISTRY_STORE=new.url) as url:
            would = snapshot("restore", file, "--registry", url, "--dry-run")
            assert (would.returncode, would.stderr) == (0, "")
            assert would.stdout.startswith("would restore 42 of 42: 0 are registered already")
            assert catalog(url)["instances"] == []
            done = snapshot("restore", file, "--registry", url)
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout.startswith("restored 42 of 42: ")
            after = catalog(url)
            assert after["digest"] == before["digest"]
            assert all(i["ttl_remaining"] > 50 for i in after["instances"]), "the leases are fresh"
            heard, cursor = leases(url), after["cursor"]
            again = snapshot("restore", file, "--registry", url)
            assert again.stdout.startswith("restored 0 of 42: 42 are registered already")
            assert again.returncode == 0
            assert (catalog(url)["cursor"], leases(url)) == (cursor, heard), "the second run changed nothing"


def test_a_file_is_readable_text_and_only_for_its_owner(source: str, tmp_path: Path) -> None:
    register(source, metadata={"team": "osint"})
    file = tmp_path / "fleet.snapshot"
    file.write_text("an older one, which everybody may read")
    file.chmod(0o644)
    assert snapshot("save", file, "--registry", source).returncode == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    header, record = map(json.loads, file.read_text().splitlines())
    assert (header["format"], header["version"], header["count"]) == ("vertice-snapshot", 1, 1)
    assert (header["source"], header["digest"]) == (source, catalog(source)["digest"])
    assert header["saved_at"].endswith("+00:00")
    assert header["checksum"].startswith("sha256:")
    assert (record["service_name"], record["metadata"]) == ("billing", {"team": "osint"})
    assert 0 < record["ttl_remaining"] <= 60
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["fleet.snapshot"], "no other file is left"


def test_restored_dead_instances_expire(source: str, tmp_path: Path) -> None:
    register(source)
    file = tmp_path / "fleet.snapshot"
    assert snapshot("save", file, "--registry", source).returncode == 0
    short = {"REGISTRY_LEASE_TTL": "2", "REGISTRY_HEARTBEAT_INTERVAL": "1", "REGISTRY_LEASE_GRACE": "500ms"}
    with registry(tmp_path / "target", **short) as url:
        assert snapshot("restore", file, "--registry", url).returncode == 0
        assert len(catalog(url)["instances"]) == 1
        wait_until(lambda: not catalog(url)["instances"], "it went by expiry")


def test_newer_records_at_the_registry_stay_and_conflicts_are_listed(source: str, tmp_path: Path) -> None:
    register(source, "billing", 8001, epoch=5, version="1.0.0")
    register(source, "billing", 8002, epoch=5, version="1.0.0")
    register(source, "mail_relay", 8003, version="1.0.0")
    register(source, "mail_relay", 8004)
    register(source, "old_name", 8005)
    file = tmp_path / "fleet.snapshot"
    assert snapshot("save", file, "--registry", source).returncode == 0
    with registry(tmp_path / "target") as url:
        register(url, "billing", 8001, epoch=6, version="2.0.0")
        register(url, "billing", 8002, epoch=4, version="0.9.0")
        register(url, "mail_relay", 8003, version="1.1.0")
        register(url, "newcomer", 8004)
        call(url, "PUT", "/status/newcomer/10.0.0.7:8004", {"status": "critical"})
        register(url, "old-name", 8006)
        address, one_name = "10.0.0.7:8004", "'old_name' and 'old-name' are one name in DNS"
        for words in (("--dry-run",), ()):
            done = snapshot("restore", file, "--registry", url, *words)
            assert done.returncode == 1
            *listed, summary = done.stdout.splitlines()
            assert sorted(listed) == [
                f"conflict: mail-relay/{address}: {address} is registered as instance '{address}' of 'newcomer'",
                f"conflict: old-name/10.0.0.7:8005: {one_name}, and 'old-name' is registered",
            ]
            assert summary.endswith(
                "1 of 5: 1 are registered already, 1 have a newer owner there, 2 conflict, 0 were refused"
            )
        versions = {i["instance_id"]: i["version"] for i in catalog(url)["instances"]}
        assert versions["10.0.0.7:8001"] == "2.0.0", "a newer owner's record stays"
        assert versions["10.0.0.7:8002"] == "1.0.0", "an older owner's record is replaced"
        assert versions["10.0.0.7:8003"] == "1.1.0", "the present record is newer than the saved one"


def test_an_incomplete_catalogue_is_not_saved(tmp_path: Path) -> None:
    file = tmp_path / "fleet.snapshot"
    with registry(tmp_path / "source", REGISTRY_WARMING="300") as url:
        register(url)
        done = snapshot("save", file, "--registry", url)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"vertice: the registry at {url} is warming: it does not know everything yet; nothing was written\n"
    )
    with registry(tmp_path / "away", REGISTRY_STORE=f"redis://127.0.0.1:{free_port()}") as url:
        done = snapshot("save", file, "--registry", url)
    assert (done.returncode, done.stdout) == (1, "")
    assert "has not read its store yet" in done.stderr
    assert not file.exists()


def test_an_empty_catalogue_does_not_overwrite_a_file(source: str, tmp_path: Path) -> None:
    file = tmp_path / "fleet.snapshot"
    file.write_text("the last good one")
    done = snapshot("save", file, "--registry", source)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"vertice: nothing is registered at {source}; nothing was written (--allow-empty writes the file)\n"
    )
    assert file.read_text() == "the last good one"
    assert snapshot("save", file, "--registry", source, "--allow-empty").returncode == 0
    assert snapshot("restore", file, "--registry", source).stdout.startswith("restored 0 of 0: ")


def test_a_snapshot_of_an_unreachable_store_shows_its_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(snapshot_save, "OLD_S", 2.0)
    file = tmp_path / "fleet.snapshot"
    with redis_server(tmp_path / "redis") as server, registry(tmp_path / "source", REGISTRY_STORE=server.url) as url:
        register(url)
        server.kill()
        wait_until(lambda: catalog(url)["store_age_s"] > 2, "the store is away for a while", timeout_s=30)
        asked = argparse.Namespace(file=file, registry=url, allow_empty=False, output="text")
        assert snapshot_save.run(asked, {}) == 0
    said = capsys.readouterr().err
    assert said.startswith("vertice: the registry cannot reach its store; this is the state as of ")
    assert json.loads(file.read_text().splitlines()[0])["store_age_s"] > 2


def test_a_wrong_token_restores_nothing(source: str, tmp_path: Path) -> None:
    register(source)
    file = tmp_path / "fleet.snapshot"
    assert snapshot("save", file, "--registry", source).returncode == 0
    call(source, "DELETE", "/deregister/billing")
    done = snapshot("restore", file, "--registry", source, token="wrong")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"vertice: {WRONG}")
    assert catalog(source)["instances"] == []


def test_a_damaged_file_is_refused_before_anything_is_sent(source: str, tmp_path: Path) -> None:
    for port in range(8001, 8006):
        register(source, port=port)
    file = tmp_path / "fleet.snapshot"
    assert snapshot("save", file, "--registry", source).returncode == 0
    call(source, "DELETE", "/deregister/billing?all=true")
    file.write_text(file.read_text().replace('"port":8003', '"port":80030'))
    done = snapshot("restore", file, "--registry", source)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "fleet.snapshot: line " in done.stderr
    assert catalog(source)["instances"] == []


def test_an_unreadable_or_unwritable_file_is_one_line(source: str, tmp_path: Path) -> None:
    register(source)
    for words, said in (
        (("save", tmp_path / "missing" / "file"), "No such file or directory"),
        (("save", Path("/dev/null")), "is not a file"),
        (("save", tmp_path), "is not a file"),
        (("restore", tmp_path / "missing"), "there is no such file"),
        (("restore", tmp_path), "is not a file"),
    ):
        done = snapshot(*words, "--registry", source)
        assert (done.returncode, done.stdout) == (1 if words[0] == "save" else 2, ""), words
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    done = snapshot("save", tmp_path / "file", "--registry", nowhere)
    assert (done.returncode, done.stderr) == (1, f"vertice: no answer from {nowhere}: Connection refused\n")
    assert snapshot("save").returncode == 2
    assert snapshot("copy", tmp_path / "file").returncode == 2
