"""What is open: only what is beyond loopback, and answers, is judged."""

from __future__ import annotations

import msgspec

from cli.doctor.exposure import ENOUGH_SECRET, judge
from cli.doctor.facts import Facts, Machine, RegistrySeen, Subject
from registry_core.settings import Listen

HERE = RegistrySeen(url="http://127.0.0.1:8888", reads_are_open=True, is_audited=False)
THERE = msgspec.structs.replace(HERE, url="https://10.0.0.2:8888", beyond_loopback=True)


def found(*registries: RegistrySeen, secret_length: int | None = None) -> list[str]:
    subject = Subject(
        zone="vertice.internal",
        http_listen=Listen("127.0.0.1", 8880),
        dns_listen=Listen("127.0.0.1", 8653),
        registry_urls=tuple(one.url for one in registries),
        secret_length=secret_length,
    )
    return [finding.id for finding in judge(Facts(subject=subject, machine=Machine(), registries=registries))]


def test_a_registry_on_loopback_is_not_judged() -> None:
    assert found(HERE, secret_length=3) == []


def test_a_registry_that_does_not_answer_is_not_judged() -> None:
    assert found(msgspec.structs.replace(THERE, problem="timed out")) == []


def test_each_registry_is_judged_by_itself() -> None:
    closed = msgspec.structs.replace(THERE, reads_are_open=False, is_audited=True)
    assert found(THERE, closed) == ["registry-reads-open", "registry-no-audit", "registry-closed"]


def test_a_secret_is_short_below_a_length() -> None:
    closed = msgspec.structs.replace(THERE, reads_are_open=False, is_audited=True)
    assert "secret-short" in found(closed, secret_length=ENOUGH_SECRET - 1)
    assert "secret-short" not in found(closed, secret_length=ENOUGH_SECRET)
