"""The audit of real replicas: what gets a line, who may read it, and how replicas vouch for each other's logs."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from registry_core.api.audit_exchange import AuditExchange
from registry_core.api.auth import API_KEY_HEADER, TOKEN_HEADER
from registry_core.api.peers import Peers
from registry_core.security.audit.heads import parse_head
from registry_core.security.audit.merkle import check_consistency, check_inclusion, leaf_hash
from registry_core.security.audit.notes import COSIGNATURE
from registry_core.security.audit.service import AuditService
from registry_core.security.audit.settings import AuditSettings
from registry_core.security.signing_keys import api_key
from tests.integration.replicas import READY, Api, serving
from tests.programs import eventually

SECRET = "a-long-random-word"
TOKEN = {TOKEN_HEADER: SECRET}
KEY = {API_KEY_HEADER: api_key("ip_intel", SECRET)}
BODY = {"service_name": "ip_intel", "host": "10.0.0.7", "port": 8034}


@contextlib.asynccontextmanager
async def audited(folder: Path, *peers: str, secrets: tuple[str, ...] = (), **audit: Any) -> AsyncIterator[Api]:
    """Run a replica with an audit log in `folder`, which also names it."""
    settings = msgspec.structs.replace(
        READY, audit=AuditSettings(folder=folder, name=folder.name, **audit), peers=peers, secrets=secrets
    )
    async with serving(settings) as api:
        yield api


def audit_of(api: Api) -> AuditService:
    assert api.replica.audit is not None
    return api.replica.audit


async def settled(api: Api) -> int:
    """Wait until everything noted is written; return the size of the log."""
    await eventually(lambda: audit_of(api).log.waiting == 0 and audit_of(api).log.size > 0, "the lines are written")
    return audit_of(api).log.size


async def lines(api: Api, headers: dict[str, str] = TOKEN) -> list[dict[str, Any]]:
    await settled(api)
    answer = await api.call("GET", "/audit/entries", headers=headers)
    assert answer.status == 200, answer.body
    return [json.loads(line) for line in answer.body["lines"]]


async def test_every_write_and_every_refusal_has_a_line(tmp_path: Path) -> None:
    async with audited(tmp_path / "eu-1a", secrets=(SECRET,)) as api:
        await api.call("POST", "/register", BODY, headers=TOKEN)
        await api.call("PUT", "/status/ip_intel/10.0.0.7:8034", {"status": "draining"}, headers=KEY)
        await api.call("POST", "/heartbeat", {"service_name": "ip_intel"}, headers=TOKEN)
        await api.call("POST", "/register", {**BODY, "service_name": "billing"}, headers=KEY)
        await api.call("DELETE", "/deregister/ip_intel", headers={TOKEN_HEADER: "wrong"})
        await api.call("GET", "/services/ip_intel")
        await api.call("DELETE", "/deregister/ip_intel?all=true", headers=TOKEN)
        found = await lines(api)
    shown = [
        (one["operation"], one["result"], one.get("service"), one.get("instance"), one.get("who"), one.get("proof"))
        for one in found[1:]
    ]
    assert shown == [
        ("register", "done", "ip_intel", "10.0.0.7:8034", "operator", "token"),
        ("set_status", "done", "ip_intel", "10.0.0.7:8034", "service:ip-intel", "api-key"),
        ("register", "Forbidden", "billing", None, "service", "api-key"),
        ("deregister", "Unauthorized", "ip_intel", None, "anyone", "none"),
        ("deregister", "done", "ip_intel", None, "operator", "token"),
    ]
    assert {one["replica"] for one in found} == {"eu-1a"}
    assert [one.get("reason") for one in found[2::3]] == ["draining", "all=true"]
    assert all(one["client"] == "127.0.0.1" and one["time"].endswith("Z") for one in found[1:])


async def test_no_secret_is_in_the_log(tmp_path: Path) -> None:
    async with audited(tmp_path / "eu-1a", secrets=(SECRET,)) as api:
        for headers in (TOKEN, KEY, {TOKEN_HEADER: "another-secret"}, {API_KEY_HEADER: "f" * 64}):
            await api.call("POST", "/register", {**BODY, "metadata": {"password": "hunter2"}}, headers=headers)
        await settled(api)
    content = await asyncio.to_thread(
        lambda: b"".join(path.read_bytes() for path in (tmp_path / "eu-1a").glob("*.jsonl"))
    )
    for secret in (SECRET, "another-secret", KEY[API_KEY_HEADER], "f" * 64, "hunter2"):
        assert secret.encode() not in content


async def test_operators_alone_read_the_audit(tmp_path: Path) -> None:
    async with audited(tmp_path / "eu-1a", secrets=(SECRET,)) as api:
        await settled(api)
        for path in ("/audit/entries", "/audit/proof?index=0", "/audit/consistency?first=0", "/audit/head"):
            answers = [await api.call("GET", path, headers=headers) for headers in ({}, KEY, TOKEN)]
            assert [one.status for one in answers] == [401, 403, 200], path
        refused = await lines(api)
    assert [one["result"] for one in refused[1:3]] == ["Unauthorized", "Forbidden"]


async def test_a_registry_without_an_audit_says_so() -> None:
    async with serving() as api:
        for path in ("/audit/entries", "/audit/head", "/audit/proof?index=0", "/audit/consistency?first=0"):
            answer = await api.call("GET", path)
            assert (answer.status, answer.body["field"]) == (404, "REGISTRY_AUDIT")
        assert (await api.call("GET", "/health")).body["components"]["audit"]["status"] == "off"


async def test_proofs_hold_under_the_head(tmp_path: Path) -> None:
    async with audited(tmp_path / "eu-1a") as api:
        await settled(api)
        old = parse_head((await api.call("GET", "/audit/head")).body.decode())
        await api.register()
        size = await settled(api)
        head = parse_head((await api.call("GET", "/audit/head")).body.decode())
        page = (await api.call("GET", "/audit/entries?from=1&count=1")).body
        proof = (await api.call("GET", f"/audit/proof?index=1&size={size}")).body
        consistency = (await api.call("GET", f"/audit/consistency?first={old.head.size}")).body
        key = audit_of(api).opened.signer.verifier
    assert head.is_signed_by(key)
    hashes = [base64.b64decode(one) for one in proof["hashes"]]
    check_inclusion(leaf_hash(page["lines"][0].encode()), 1, size, hashes, head.head.root)
    hashes = [base64.b64decode(one) for one in consistency["hashes"]]
    check_consistency(old.head.size, size, hashes, old.head.root, head.head.root)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/audit/proof", "index"),
        ("/audit/proof?index=99", "index"),
        ("/audit/proof?index=0&size=99", "size"),
        ("/audit/consistency?first=2&second=1", "first"),
        ("/audit/consistency?first=x", "first"),
        ("/audit/entries?from=-1", "from"),
        ("/audit/head?countersigned=maybe", "countersigned"),
    ],
)
async def test_a_wrong_question_is_refused_with_its_field(tmp_path: Path, path: str, field: str) -> None:
    async with audited(tmp_path / "eu-1a") as api:
        await settled(api)
        answer = await api.call("GET", path)
        assert (answer.status, answer.body["field"]) == (400, field)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"head": "a\n1\n"}, "head"),
        ({"hashes": ["AAAA"]}, "hashes"),
        ({"old_size": -1}, "old_size"),
        ({"more": 1}, "more"),
    ],
)
async def test_what_is_no_head_is_refused_with_its_field(tmp_path: Path, change: dict[str, object], field: str) -> None:
    async with audited(tmp_path / "a") as api:
        await settled(api)
        head = (await api.call("GET", "/audit/head")).body.decode()
        body = {"head": head, "key": str(audit_of(api).opened.signer.verifier), **change}
        answer = await api.call("POST", "/audit/head", body)
        assert (answer.status, answer.body["field"]) == (400, field)


async def exchanged(api: Api, *others: Api) -> None:
    """Have the other replicas asked for their countersignatures, as happens every few seconds."""
    await settled(api)
    peers = Peers([api.url, *(other.url for other in others)])
    await peers.start()
    try:
        await AuditExchange(audit_of(api), peers).exchange()
    finally:
        await peers.close()


async def health(api: Api) -> dict[str, Any]:
    found: dict[str, Any] = (await api.call("GET", "/health")).body
    return found


async def test_replicas_countersign_each_others_heads(tmp_path: Path) -> None:
    async with audited(tmp_path / "a") as a, audited(tmp_path / "b") as b, audited(tmp_path / "c") as c:
        assert (await a.call("GET", "/audit/head?countersigned=true")).status == 404
        for _ in range(3):
            await a.register()
            await exchanged(a, b, c)
        size = await settled(a)
        head = parse_head((await a.call("GET", "/audit/head?countersigned=true")).body.decode())
        keys = [audit_of(one).opened.signer.verifier for one in (a, b, c)]
        assert head.head.size == size
        assert head.is_signed_by(keys[0])
        assert head.witnesses([key.of_kind(COSIGNATURE) for key in keys]).keys() == {
            "vertice-audit/b",
            "vertice-audit/c",
        }
        report = (await health(a))["components"]["audit"]
        assert (report["status"], report["countersigned_size"]) == ("ok", size)
        assert report["countersigned_by"] == ["vertice-audit/b", "vertice-audit/c"]
        (seen,) = (await health(b))["components"]["audit"]["witnessed"]
        assert (seen["log"], seen["size"], seen["dispute"]) == ("vertice-audit/a", size, "")


@pytest.mark.parametrize("secrets", [(), (SECRET,)], ids=["open", "with-a-secret"])
async def test_heads_are_exchanged_in_the_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secrets: tuple[str, ...]
) -> None:
    monkeypatch.setattr("registry_core.replica.EXCHANGE_EVERY_S", 0.05)
    async with audited(tmp_path / "b", secrets=secrets) as b, audited(tmp_path / "a", b.url, secrets=secrets) as a:
        await eventually(lambda: audit_of(a).report().countersigned_by == ("vertice-audit/b",), "its head is signed")
        assert audit_of(b).report().witnessed[0].log == "vertice-audit/a"


async def test_a_countersigned_head_survives_a_restart(tmp_path: Path) -> None:
    async with audited(tmp_path / "b") as b:
        async with audited(tmp_path / "a") as a:
            await exchanged(a, b)
            before = (await a.call("GET", "/audit/head?countersigned=true")).body
        async with audited(tmp_path / "a") as a:
            await settled(a)
            assert (await a.call("GET", "/audit/head?countersigned=true")).body == before
            await exchanged(a, b)
            assert (await a.call("GET", "/audit/head?countersigned=true")).body != before


async def copied(source: Path, target: Path) -> None:
    await asyncio.to_thread(shutil.copytree, source, target)


async def test_a_log_that_was_rolled_back_or_forked_is_refused_also_after_a_restart_of_the_witness(
    tmp_path: Path,
) -> None:
    async with audited(tmp_path / "a") as a, audited(tmp_path / "b") as b:
        await exchanged(a, b)
    await copied(tmp_path / "a", tmp_path / "older" / "a")  # a backup
    async with audited(tmp_path / "a") as a, audited(tmp_path / "b") as b:
        for port in range(8001, 8006):
            await a.register(port=port)
        await exchanged(a, b)
        size = await settled(a)
    async with audited(tmp_path / "older" / "a") as a, audited(tmp_path / "b") as b:
        with capture_logs() as logs:
            await exchanged(a, b)
        went_back = f"vertice-audit/a went back from {size} lines"
        for api in (a, b):
            found = await health(api)
            assert (found["status"], found["components"]["audit"]["status"]) == ("degraded", "disputed")
            assert any(went_back in reason for reason in found["reasons"])
        events = {one["event"] for one in logs}
        assert {"audit_log_disputed", "audit_head_refused"} <= events
        for port in range(9001, 9020):
            await a.register(port=port)
        await exchanged(a, b)
        (seen,) = (await health(b))["components"]["audit"]["witnessed"]
        assert "does not continue that of" in seen["dispute"], "it has grown beyond, and is another log"
        assert seen["size"] == size
        metrics = (await b.call("GET", "/metrics")).body.decode()
        assert 'registry_audit_faults_total{kind="disputed"} 2.0' in metrics
        evidence = [one for one in await lines(b) if one["operation"] == "audit-disputed"]
        assert len(evidence) == 2
        assert "vertice-audit/a" in evidence[0]["reason"]


async def test_a_new_key_under_an_old_name_is_refused(tmp_path: Path) -> None:
    async with audited(tmp_path / "b") as b:
        async with audited(tmp_path / "a") as a:
            await exchanged(a, b)
        async with audited(tmp_path / "anew" / "a") as a:
            await exchanged(a, b)
            (seen,) = (await health(b))["components"]["audit"]["witnessed"]
            assert "has another key than before" in seen["dispute"]


async def test_nobody_takes_the_name_of_the_witness(tmp_path: Path) -> None:
    async with audited(tmp_path / "a") as a, audited(tmp_path / "other" / "a") as other:
        await exchanged(a, other)
        assert "has the name of this replica" in (await health(a))["components"]["audit"]["problem"]
