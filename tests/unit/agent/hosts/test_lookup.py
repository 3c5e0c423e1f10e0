"""One lookup of a host name: hosts(5) first, then the resolvers, and libc last. Nothing here sends anything."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from agent.hosts.found import NO_ADDRESSES, UNANSWERED, FoundAddresses
from agent.hosts.lookup import HostLookup
from agent.hosts.machine_files import MachineFiles
from dns.codec import Name, Type
from dns.foreign import ForeignReply
from dns.resolver_client import Unanswered
from tests.foreign import SOA, reply_of
from tests.programs import eventually

SILENT = Unanswered()
REFUSES = Unanswered(heard=True)
NO_SUCH_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
AWAY = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


class Resolvers:
    """The resolvers of one set of rules: `known` has the addresses of names, `odd` what is said instead."""

    def __init__(self, **known: list[str]) -> None:
        self.known = {name.replace("_", "."): addresses for name, addresses in known.items()}
        self.odd: dict[str, Unanswered] = {}
        self.asked: list[str] = []
        self.hangs: set[int] = set()  # types of questions that nobody answers

    async def look_up(self, name: Name, qtype: int) -> ForeignReply | Unanswered:
        text = b".".join(name).decode()
        if qtype == Type.A:
            self.asked.append(text)
        if qtype in self.hangs:
            await asyncio.Event().wait()
        if text in self.odd:
            return self.odd[text]
        if text not in self.known:
            return reply_of(text, qtype=Type(qtype).name, authority=SOA, rcode=3)
        kinds = {address: "AAAA" if ":" in address else "A" for address in self.known[text]}
        records = [f"{text}. 7 IN {kind} {ip}" for ip, kind in kinds.items() if kind == Type(qtype).name]
        return reply_of(text, *records, qtype=Type(qtype).name)


class Machine:
    """A machine with its files, its resolvers and its libc."""

    def __init__(self, folder: Path) -> None:
        self.files = MachineFiles(folder / "hosts", folder / "resolv.conf")
        self.files.hosts.write_text("127.0.0.1 localhost\n10.0.0.1 vm7\n")
        self.files.resolv_conf.write_text("nameserver 127.0.0.11\nsearch shop.example\noptions ndots:2\n")
        self.ruled, self.here = Resolvers(), Resolvers()
        self.libc: dict[str, tuple[str, ...] | OSError] = {}
        self.libc_asked: list[str] = []

    def ask_libc(self, host: str) -> tuple[str, ...]:
        self.libc_asked.append(host)
        said = self.libc.get(host, NO_SUCH_NAME)
        if isinstance(said, OSError):
            raise said
        return said

    async def look_up(self, host: str) -> FoundAddresses:
        lookup = HostLookup(
            self.ruled.look_up,
            self.here.look_up,
            zone="vertice.internal",
            files=self.files,
            ask_system=self.ask_libc,
        )
        return await lookup.look_up(host)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


async def test_a_name_in_hosts_is_not_asked_for(machine: Machine) -> None:
    assert (await machine.look_up("VM7")).addresses == ("10.0.0.1",)
    assert (await machine.look_up("localhost")).addresses == ("127.0.0.1",)
    machine.files.hosts.unlink()
    assert (await machine.look_up("localhost")).addresses == ("::1", "127.0.0.1"), "RFC 6761"
    assert (await machine.look_up("app.localhost")).addresses == ("::1", "127.0.0.1")
    assert machine.ruled.asked == machine.here.asked == machine.libc_asked == []


async def test_a_name_with_a_dot_goes_to_the_resolvers_of_the_rules(machine: Machine) -> None:
    machine.ruled.known = {"db.corp.example": ["10.0.0.7", "2001:db8::7"]}
    assert await machine.look_up("db.corp.example") == FoundAddresses(("10.0.0.7",), ("2001:db8::7",), 7.0)
    assert machine.here.asked == machine.libc_asked == []


async def test_a_containers_name_goes_to_the_resolvers_of_the_system(machine: Machine) -> None:
    machine.here.known = {"orders": ["172.18.0.7"]}
    assert (await machine.look_up("orders")).addresses == ("172.18.0.7",)
    assert machine.here.asked == ["orders.shop.example", "orders"]
    assert machine.ruled.asked == machine.libc_asked == []


async def test_a_name_is_completed_as_ndots_says(machine: Machine) -> None:
    machine.ruled.known = {"orders.eu.shop.example": ["10.0.0.7"], "a.b.c": ["10.0.0.8"]}
    assert (await machine.look_up("orders.eu")).addresses == ("10.0.0.7",)
    assert (await machine.look_up("a.b.c")).addresses == ("10.0.0.8",)
    assert (await machine.look_up("a.b.c.")).addresses == ("10.0.0.8",)
    assert machine.ruled.asked == ["orders.eu.shop.example", "a.b.c", "a.b.c"]


async def test_libc_is_asked_where_nothing_is_found(machine: Machine) -> None:
    machine.libc = {"printer": ("10.0.0.9", "2001:db8::9")}
    assert (await machine.look_up("printer")).addresses == ("2001:db8::9", "10.0.0.9"), "a source of nsswitch.conf"
    assert await machine.look_up("nobody.example") == NO_ADDRESSES


async def test_a_shortage_of_descriptors_is_not_no_such_name(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.ruled.odd = {"db.corp.example": SILENT}
    monkeypatch.setattr("agent.hosts.lookup.socket_shortage", lambda: "Too many open files")
    assert await machine.look_up("db.corp.example") == UNANSWERED


async def test_a_name_of_the_own_zone_is_left_to_libc(machine: Machine) -> None:
    machine.libc = {"orders.vertice.internal": ("10.0.0.9",)}
    assert (await machine.look_up("orders.vertice.internal")).addresses == ("10.0.0.9",)
    assert machine.ruled.asked == machine.here.asked == []


@pytest.mark.parametrize("trouble", [SILENT, REFUSES])
async def test_no_answer_is_not_no_such_name(machine: Machine, trouble: Unanswered) -> None:
    machine.ruled.odd = {"db.corp.example": trouble}
    machine.libc = {"db.corp.example": AWAY}
    assert await machine.look_up("db.corp.example") == UNANSWERED
    machine.libc = {"db.corp.example": ("10.0.0.7",)}
    assert (await machine.look_up("db.corp.example")).addresses == ("10.0.0.7",), "libc has more patience"


async def test_a_silent_resolver_is_not_asked_for_every_completion(machine: Machine) -> None:
    machine.libc = {"orders": AWAY}
    machine.here.odd = {"orders.shop.example": SILENT}
    assert await machine.look_up("orders") == UNANSWERED
    assert machine.here.asked == ["orders.shop.example"]
    machine.here.odd = {"orders.shop.example": REFUSES}
    machine.here.known = {"orders": ["172.18.0.7"]}
    assert (await machine.look_up("orders")).addresses == ("172.18.0.7",), "a refusal costs no time"


async def test_an_ignored_question_for_ipv6_holds_up_no_ipv4_address(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.hosts.lookup.OTHER_FAMILY_S", 0.01)
    machine.ruled.known = {"db.corp.example": ["10.0.0.7"]}
    machine.ruled.hangs = {Type.AAAA}
    assert await machine.look_up("db.corp.example") == FoundAddresses(("10.0.0.7",), None, 7.0)


@pytest.mark.parametrize("host", ["x" * 64, "a..b", "ü.example", "a." * 200, ".", ""])
async def test_what_no_question_can_hold_is_not_asked_for(machine: Machine, host: str) -> None:
    assert await machine.look_up(host) == NO_ADDRESSES
    assert machine.ruled.asked == machine.here.asked == []


async def test_files_that_cannot_be_read_say_nothing(machine: Machine) -> None:
    machine.files = MachineFiles(Path("/nowhere/hosts"), Path("/nowhere"))
    machine.ruled.known = {"db.corp.example": ["10.0.0.7"]}
    assert (await machine.look_up("db.corp.example")).addresses == ("10.0.0.7",)


async def test_lookups_at_name_servers_are_bounded_and_the_files_wait_for_none_of_them(machine: Machine) -> None:
    speaks, asked = asyncio.Event(), list[Name]()

    async def ask(name: Name, _qtype: int) -> Unanswered:
        asked.append(name)
        await speaks.wait()
        return REFUSES

    lookup = HostLookup(ask, ask, zone="vertice.internal", files=machine.files, ask_system=machine.ask_libc, most=3)
    waiting = [asyncio.ensure_future(lookup.look_up(f"db-{number}.corp.example.")) for number in range(10)]
    assert (await lookup.look_up("vm7")).addresses == ("10.0.0.1",)
    await eventually(lambda: len(set(asked)) == 3, "the first ones ask")
    assert (await lookup.look_up("app.localhost")).addresses == ("::1", "127.0.0.1")
    assert len(set(asked)) == 3
    speaks.set()
    await asyncio.gather(*waiting)
    assert len(set(asked)) == 10
