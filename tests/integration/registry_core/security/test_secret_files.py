"""Files of secrets are read again while a replica runs; a bad one changes nothing, and health says so."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from registry_core.replica_settings import ReplicaSettings, replica_settings
from registry_core.security.identities import Role
from registry_core.security.issued_keys import ended, issued, key_file
from registry_core.security.signing_keys import SigningKey, shared_key
from tests.integration.replicas import Api, serving
from tests.integration.signed_requests import signed_request

PAST = datetime(2026, 1, 1, tzinfo=UTC)
NEW = SigningKey("k-00000000000a", "i" * 43)


async def settings_from_files(environment: dict[str, str]) -> ReplicaSettings:
    """Return the settings of a replica on loopback that is not warming. The files are read in a thread."""
    return await asyncio.to_thread(
        replica_settings, {"REGISTRY_LISTEN": "127.0.0.1:0", "REGISTRY_WARMING": "0", **environment}
    )


async def status(api: Api, key: SigningKey) -> int:
    return (await signed_request(key).send(api)).status


async def refresh(api: Api) -> None:
    await api.replica._callers.files.refresh()  # as its loop does every few seconds


async def test_a_changed_secret_and_a_changed_file_of_keys_take_effect(tmp_path: Path) -> None:
    secret, keys = tmp_path / "secret", tmp_path / "keys.json"
    secret.write_text("the-first-one\n", encoding="utf-8")
    keys.write_bytes(key_file(()))
    environment = {
        "REGISTRY_SECRET_FILE": str(secret),
        "REGISTRY_KEYS_FILE": str(keys),
    }
    async with serving(await settings_from_files(environment)) as api:
        assert (await status(api, shared_key("the-first-one")), await status(api, NEW)) == (201, 401)
        secret.write_text("the-second-one,the-first-one\n", encoding="utf-8")
        issued_keys = issued((), NEW, Role.SERVICE, "ip_intel", now=PAST, days=None)
        keys.write_bytes(key_file(issued_keys))
        await refresh(api)
        for key in (shared_key("the-first-one"), shared_key("the-second-one"), NEW):
            assert await status(api, key) == 201
        secret.write_text("the-second-one\n", encoding="utf-8")
        keys.write_bytes(key_file(ended(issued_keys, NEW.id, PAST)))
        await refresh(api)
        assert await status(api, shared_key("the-first-one")) == 401
        assert await status(api, NEW) == 401
        assert await status(api, shared_key("the-second-one")) == 201


async def test_a_file_that_cannot_be_used_changes_nothing(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the-first-one", encoding="utf-8")
    settings = await settings_from_files({"REGISTRY_SECRET_FILE": str(secret)})
    async with serving(settings) as api:
        await refresh(api)
        for content in (b"", b"two words", b"a,b,c", b"\xff"):
            secret.write_bytes(content)
            await refresh(api)
            assert await status(api, shared_key("the-first-one")) == 201
            health = (await api.call("GET", "/health")).body
            assert health["status"] == "degraded"
            assert str(secret) in health["components"]["access"]["secrets"]["problem"]
            assert any("file of secrets" in reason for reason in health["reasons"])
        secret.unlink()
        await refresh(api)
        assert await status(api, shared_key("the-first-one")) == 201
        secret.write_text("the-first-one", encoding="utf-8")
        await refresh(api)
        health = (await api.call("GET", "/health")).body
        assert health["components"]["access"]["secrets"]["problem"] == ""


async def test_a_file_of_keys_that_becomes_empty_opens_nothing(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_bytes(key_file(issued((), NEW, Role.SERVICE, "ip_intel", now=PAST, days=None)))
    settings = await settings_from_files({"REGISTRY_KEYS_FILE": str(keys)})
    async with serving(settings) as api:
        assert await status(api, NEW) == 201
        keys.write_bytes(key_file(()))
        await refresh(api)
        assert await status(api, NEW) == 401
        assert (await api.call("POST", "/register", {"service_name": "x"})).status == 401
