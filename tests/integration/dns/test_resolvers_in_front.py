"""dnsmasq, unbound and BIND before the agent: with the lines of docs/guide/resolvers.md they keep nothing back.

Without those lines each does, and the doctor knows what it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from cli.doctor.dns_probes import ask_for_zone, hides_addresses, refuses_many
from cli.doctor.facts import ZoneAnswer
from tests.integration.dns_servers import both
from tests.programs import ROOT, accepts, eventually, find, free_port, running
from tests.samples import instance
from tests.views import StandingView
from tests.wire.asking import ZONE, responder

PAGE = ROOT / "docs" / "guide" / "resolvers.md"
MANY = 150
# The anchor of the root. Nobody here can be asked for its signatures.
DIGEST = "20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"
UNBOUND = """
server:
  interface: 127.0.0.1@{port}
  do-daemonize: no
  chroot: ""
  username: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  logfile: ""
  private-address: 10.0.0.0/8
  private-address: 127.0.0.0/8
  {anchor}
"""
BIND = """
  directory "{folder}";
  listen-on port {port} {{ 127.0.0.1; }};
  listen-on-v6 {{ none; }};
  pid-file none;
  session-keyfile "{folder}/key";
  recursion yes;
"""


def lines_for(program: str, dns: int) -> str:
    """Return the lines that the page has for a program, for an agent on that port."""
    page = PAGE.read_text()
    section = page.split(f"\n## {program}\n")[1].split("\n## ")[0]
    lines = [line[4:] for line in section.splitlines() if line.startswith("    ")]
    return "\n".join(lines).replace("8653", str(dns))


class Front:
    """A resolver before the agent."""

    def __init__(self, port: int, agent: int) -> None:
        self.port, self.agent = port, agent

    async def answers(self, name: str, qtype: str) -> list[str]:
        """Return the data that dig gets, after a status of NOERROR."""
        argv = [
            find("dig"),
            "@127.0.0.1",
            "-p",
            str(self.port),
            "+noall",
            "+answer",
            "+comments",
            "+tries=1",
            "+time=5",
        ]
        process = await asyncio.create_subprocess_exec(
            *argv, f"{name}.{ZONE}" if name else ZONE, qtype, stdout=asyncio.subprocess.PIPE
        )
        out = (await process.communicate())[0].decode()
        assert "status: NOERROR" in out, out
        rows = [line.split() for line in out.splitlines() if line and not line.startswith(";")]
        return sorted(" ".join(row[4:]) for row in rows if row[3] == qtype)

    async def of_zone(self) -> ZoneAnswer:
        return await asyncio.to_thread(ask_for_zone, "127.0.0.1", ZONE, self.port)

    async def hides(self, name: str) -> bool:
        at = ("127.0.0.1", self.agent)
        return await asyncio.to_thread(hides_addresses, "127.0.0.1", f"{name}.{ZONE}", at, self.port)

    async def refuses(self, name: str) -> bool:
        at = ("127.0.0.1", self.agent)
        return await asyncio.to_thread(refuses_many, "127.0.0.1", f"_{name}._tcp.{ZONE}", at, self.port)


@pytest.fixture
async def agent() -> AsyncIterator[int]:
    """The port of an agent's DNS face."""
    view = StandingView(
        [
            instance("billing", "10.0.0.1", version="1.4"),
            *(instance("large", f"10.1.0.{number}") for number in range(1, MANY + 1)),
        ]
    )
    udp, tcp = await both(responder(view))
    yield udp.port
    await udp.close()
    await tcp.close()


@contextlib.asynccontextmanager
async def listening(argv: list[str], folder: Path, port: int, agent: int) -> AsyncIterator[Front]:
    with running(argv, folder / "log") as program:
        await eventually(lambda: accepts(port), program.output() or "it listens")
        yield Front(port, agent)


def dnsmasq(folder: Path, agent: int, given: str) -> contextlib.AbstractAsyncContextManager[Front]:
    port, conf = free_port(), folder / "dnsmasq.conf"
    conf.write_text(
        f"{given}\nstop-dns-rebind\nrebind-localhost-ok\ndnssec\ntrust-anchor=.,{DIGEST.replace(' ', ',')}\n"
    )
    argv = [find("dnsmasq"), "-k", "-C", str(conf), "--no-resolv", "--no-hosts", "--bind-interfaces", "--user=root"]
    argv += ["--pid-file=", "--listen-address=127.0.0.1", f"--port={port}"]
    return listening(argv, folder, port, agent)


def unbound(
    folder: Path, agent: int, given: str, anchor: str = f'trust-anchor: ". DS {DIGEST}"'
) -> contextlib.AbstractAsyncContextManager[Front]:
    port, conf = free_port(), folder / "unbound.conf"
    conf.write_text(UNBOUND.format(port=port, folder=folder, anchor=anchor) + given + "\n")
    return listening([find("unbound"), "-d", "-p", "-c", str(conf)], folder, port, agent)


def bind(folder: Path, agent: int, given: str) -> contextlib.AbstractAsyncContextManager[Front]:
    port, conf = free_port(), folder / "named.conf"
    common = BIND.format(port=port, folder=folder)
    conf.write_text("controls { };\n" + given.replace("options {", f"options {{{common}", 1) + "\n")
    return listening([find("named"), "-g", "-c", str(conf)], folder, port, agent)


Starts = Callable[[Path, int, str], contextlib.AbstractAsyncContextManager[Front]]
PROGRAMS: dict[str, Starts] = {"dnsmasq": dnsmasq, "unbound": unbound, "BIND": bind}


@pytest.mark.parametrize("program", PROGRAMS)
async def test_with_the_lines_of_the_page_nothing_is_kept_back(program: str, agent: int, tmp_path: Path) -> None:
    """Rebind protection and validation are on, where the program has them."""
    async with PROGRAMS[program](tmp_path, agent, lines_for(program, agent)) as front:
        assert await front.of_zone() is ZoneAnswer.OURS
        assert await front.answers("billing", "A") == ["10.0.0.1"]
        assert await front.answers("billing", "TXT") == ['"version=1.4"']
        assert len(await front.answers("_large._tcp", "SRV")) == MANY
        assert await front.answers("_services._dns-sd._udp", "PTR") == [
            f"_billing._tcp.{ZONE}.",
            f"_large._tcp.{ZONE}.",
        ]
        assert not await front.hides("billing")
        assert not await front.refuses("large")


async def test_dnsmasq_hides_private_addresses_unless_told_otherwise(agent: int, tmp_path: Path) -> None:
    lines = lines_for("dnsmasq", agent).replace("rebind-domain-ok", "#")
    async with dnsmasq(tmp_path, agent, lines) as front:
        # It protects 127.0.0.0/8 as well, unless it has `rebind-localhost-ok`, as here.
        assert await front.of_zone() is ZoneAnswer.OURS
        assert await front.hides("billing")


async def test_dnsmasq_that_hides_loopback_too_is_known_by_the_zone_alone(agent: int, tmp_path: Path) -> None:
    port = free_port()
    argv = [find("dnsmasq"), "-k", "-C", "/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces", "--user=root"]
    argv += ["--pid-file=", "--listen-address=127.0.0.1", f"--port={port}", "--stop-dns-rebind"]
    async with listening([*argv, f"--server=/{ZONE}/127.0.0.1#{agent}"], tmp_path, port, agent) as front:
        assert await front.of_zone() is ZoneAnswer.FILTERED


async def test_unbound_hides_private_addresses_unless_told_otherwise(agent: int, tmp_path: Path) -> None:
    lines = re.sub(r"private-domain.*", "", lines_for("unbound", agent))
    async with unbound(tmp_path, agent, lines) as front:
        assert await front.of_zone() is ZoneAnswer.FILTERED
        assert await front.hides("billing")


async def test_bind_hides_private_addresses_unless_told_otherwise(agent: int, tmp_path: Path) -> None:
    lines = re.sub(r" except-from {[^}]*}", "", lines_for("BIND", agent))
    async with bind(tmp_path, agent, lines) as front:
        assert await front.of_zone() is ZoneAnswer.FILTERED


async def test_a_resolver_that_validates_is_known_by_what_it_says_unchecked(agent: int, tmp_path: Path) -> None:
    """A trust anchor for the zone itself, which has no keys, as the root is one for `internal`."""
    lines = re.sub(r"(private-domain|domain-insecure).*", "", lines_for("unbound", agent))
    lines += "\nserver:\n  private-domain: internal"
    async with unbound(tmp_path, agent, lines, f'trust-anchor: "{ZONE}. DS {DIGEST}"') as front:
        assert await front.of_zone() is ZoneAnswer.BOGUS


@pytest.mark.parametrize("program", ["unbound", "BIND"])
async def test_a_resolver_that_still_looks_for_signatures_is_known_as_well(
    program: str, agent: int, tmp_path: Path
) -> None:
    lines = re.sub(r"(validate-except|domain-insecure).*", "", lines_for(program, agent))
    async with PROGRAMS[program](tmp_path, agent, lines) as front:
        assert await front.of_zone() is ZoneAnswer.BOGUS


async def test_bind_refuses_more_than_a_hundred_records_unless_told_otherwise(agent: int, tmp_path: Path) -> None:
    lines = lines_for("BIND", agent).replace("max-records-per-type 0;", "")
    async with bind(tmp_path, agent, lines) as front:
        assert await front.refuses("large")
        assert not await front.refuses("billing")
        assert await front.of_zone() is ZoneAnswer.OURS
