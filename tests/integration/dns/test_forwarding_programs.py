"""Forwarding to unbound and dnsmasq, queried by dig and kdig: direct and forwarded answers are the same."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.dns.test_loops import asked
from tests.programs import accepts, eventually, find, free_port, running
from tests.resolvers import Face, face, resolver, to
from tests.samples import instance
from tests.views import StandingView
from tests.wire.asking import ZONE, data

UNBOUND = """
server:
  interface: 127.0.0.1@{port}
  access-control: 127.0.0.0/8 allow
  do-daemonize: no
  chroot: ""
  username: ""
  directory: "{directory}"
  pidfile: ""
  use-syslog: no
  logfile: ""
  do-not-query-localhost: no
  module-config: "iterator"
  minimal-responses: no
{more}
"""
RECORDS = [
    "example. 3600 SOA ns.example. admin.example. 1 3600 600 86400 60",
    "www.example. 300 A 192.0.2.1",
    "www.example. 300 AAAA 2001:db8::1",
    "example. 300 MX 10 mail.example.",
    "mail.example. 300 A 192.0.2.25",
    'txt.example. 300 TXT "one" "two"',
    "strange.example. 300 TYPE65280 \\# 4 0a000001",
    "_sip._udp.example. 300 SRV 1 2 5060 www.example.",
    *(f"large.example. 300 A 192.0.2.{n}" for n in range(1, 201)),
]
LOCAL = '  local-zone: "example." static\n' + "".join(f"  local-data: '{record}'\n" for record in RECORDS)


@contextlib.asynccontextmanager
async def unbound(tmp_path: Path, port: int, more: str) -> AsyncIterator[None]:
    conf = tmp_path / "unbound.conf"
    conf.write_text(UNBOUND.format(port=port, directory=tmp_path, more=more))
    with running([find("unbound"), "-d", "-p", "-c", str(conf)], tmp_path / "unbound.log") as program:
        await eventually(lambda: accepts(port), program.output() or "unbound is up")
        yield


@contextlib.asynccontextmanager
async def dnsmasq(tmp_path: Path, port: int, *words: str) -> AsyncIterator[None]:
    common = ["-k", "-C", "/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces", "--user=root", "--pid-file="]
    argv = [find("dnsmasq"), *common, "--listen-address=127.0.0.1", f"--port={port}", *words]
    with running(argv, tmp_path / "dnsmasq.log") as program:
        await eventually(lambda: accepts(port), program.output() or "dnsmasq is up")
        yield


@pytest_asyncio.fixture
async def through_unbound(tmp_path: Path) -> AsyncIterator[tuple[Face, int]]:
    port = free_port()
    async with unbound(tmp_path, port, LOCAL), face(f"127.0.0.1:{port}") as ours:
        yield ours, port


async def directly(port: int, *words: str, program: str = "dig") -> str:
    process = await asyncio.create_subprocess_exec(
        find(program), "@127.0.0.1", "-p", str(port), *words, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return out.decode()


QUESTIONS: list[tuple[str, ...]] = [
    ("www.example", "A"),
    ("WWW.Example", "AAAA"),
    ("www.example", "MX"),
    ("example", "MX"),
    ("example", "SOA"),
    ("txt.example", "TXT"),
    ("strange.example", "TYPE65280"),
    ("_sip._udp.example", "SRV"),
    ("nobody.example", "A"),
    ("large.example", "A"),
    ("www.example", "ANY"),
]


@pytest.mark.parametrize("words", QUESTIONS, ids=" ".join)
@pytest.mark.parametrize("transport", ["+edns", "+tcp"])
@pytest.mark.parametrize("program", ["dig", "kdig"])
async def test_every_answer_of_unbound_reaches_the_client_unchanged(
    through_unbound: tuple[Face, int], words: tuple[str, ...], transport: str, program: str
) -> None:
    ours, port = through_unbound
    if program == "kdig" and words[0].startswith("large"):
        transport = "+tcp"  # a truncated answer may have more or fewer records
    shown = ("+noall", "+answer", "+authority", "+nottlid" if program == "dig" else "+nottl")
    wanted = await directly(port, *shown, transport, *words, program=program)
    for _ in range(2):  # from unbound, and from the cache
        got = await ours.dig(*shown, transport, *words, program=program)
        assert sorted(got.splitlines()) == sorted(wanted.splitlines())
    status = (await ours.dig(transport, *words)).partition("status: ")[2].partition(",")[0]
    assert status == ("NXDOMAIN" if "nobody" in words[0] else "NOERROR")


async def test_dig_reads_forwarded_answers_without_complaint(through_unbound: tuple[Face, int]) -> None:
    ours, _ = through_unbound
    for words in QUESTIONS:
        for more in ("+noedns", "+edns=0", "+bufsize=512", "+bufsize=4096", "+cookie", "+dnssec", "+cdflag", "+tcp"):
            out = await ours.dig(*words, more)
            assert "WARNING" not in out, out
            assert "bad packet" not in out, out
            assert " ra" in out.partition("flags:")[2].partition(";")[0], out


async def test_a_chain_of_aliases_from_dnsmasq_arrives_complete(tmp_path: Path) -> None:
    port = free_port()
    words = [
        "--cname=alias.example,other.example",
        "--cname=other.example,www.example",
        "--host-record=www.example,192.0.2.1,2001:db8::1",
        "--txt-record=txt.example,one,two",
        "--local=/example/",
    ]
    async with dnsmasq(tmp_path, port, *words), face(f"127.0.0.1:{port}") as ours:
        for _ in range(2):
            chain = (await ours.dig("+noall", "+answer", "Alias.example")).split()
            assert [word for word in chain if word.endswith((".example.", ".1"))] == [
                *("Alias.example.", "other.example.", "other.example.", "www.example.", "www.example.", "192.0.2.1")
            ]
        assert await ours.short("www.example", "AAAA") == ["2001:db8::1"]
        assert await ours.dig("+short", "txt.example", "TXT") == '"one" "two"\n'
        assert "status: NXDOMAIN" in await ours.dig("nobody.example")
        assert ours.forwarder.report().upstreams[0].keeps_case


async def test_a_domain_with_its_own_rule_is_forwarded_elsewhere(tmp_path: Path) -> None:
    one, two = free_port(), free_port()
    view = StandingView([instance("ip_intel", "10.0.0.1")])
    async with (
        unbound(tmp_path, one, LOCAL),
        dnsmasq(tmp_path, two, "--host-record=db.corp.example,192.0.2.99", "--local=/corp.example/"),
        face(f"127.0.0.1:{one},corp.example=127.0.0.1:{two}", view=view) as ours,
    ):
        assert await ours.short("www.example") == ["192.0.2.1"]
        assert await ours.short("db.corp.example") == ["192.0.2.99"]
        assert await ours.short(f"ip-intel.{ZONE}") == ["10.0.0.1"]


@pytest.mark.parametrize("program", ["unbound", "dnsmasq"])
async def test_a_real_resolver_that_returns_our_queries_is_recognised(tmp_path: Path, program: str) -> None:
    port = free_port()
    async with resolver() as good, face(f"127.0.0.1:{port},{to(good)}") as ours:
        back = f'forward-zone:\n  name: "."\n  forward-addr: 127.0.0.1@{ours.port}\n'
        loop = (
            unbound(tmp_path, port, back)
            if program == "unbound"
            else dnsmasq(tmp_path, port, f"--server=127.0.0.1#{ours.port}")
        )
        async with loop:
            for n in range(5):
                assert data(await asked(ours, f"n{n}.example")) == ["192.0.2.1"]
            await eventually(lambda: ours.forwarder.report().upstreams[0].state == "looping", "it is recognised")
            assert sum(ours.forwarder.counts.values()) < 30, "without a storm"


@pytest.mark.parametrize(
    "more", ["", '  local-zone: "." static\n'], ids=["which is all it knows", "of a name that it denies"]
)
async def test_an_alias_that_unbound_has_of_our_name_is_completed(tmp_path: Path, more: str) -> None:
    port, view = free_port(), StandingView([instance("billing", "10.0.0.1")])
    alias = f'  local-data: "old.example. 300 CNAME billing.{ZONE}."\n'
    async with unbound(tmp_path, port, LOCAL + alias + more), face(f"127.0.0.1:{port}", view=view) as ours:
        assert "10.0.0.1" not in await directly(port, "old.example"), "it does not know our zone"
        for words in (("+notcp",), ("+tcp",), ("+bufsize=512",)):
            for program in ("dig", "kdig"):
                out = await ours.dig(*words, "old.example", program=program)
                assert (f"billing.{ZONE}." in out, "10.0.0.1" in out, "status: NOERROR" in out) == (True, True, True)
        view.become(instance("billing", "10.0.0.2"))
        assert await ours.short("old.example") == [f"billing.{ZONE}.", "10.0.0.2"], "of now, though the alias is cached"
