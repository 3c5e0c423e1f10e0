"""What this machine's files say of host names."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path

import pytest

from agent.hosts import machine_files
from agent.hosts.machine_files import KEEP_CHARACTERS, MAX_THREADS, LocalNames, MachineFiles, machine_names, own_names


@pytest.fixture
def files(tmp_path: Path) -> MachineFiles:
    found = MachineFiles(tmp_path / "hosts", tmp_path / "resolv.conf")
    found.hosts.write_text("10.0.0.1 orders\n")
    found.resolv_conf.write_text("search corp.example\n")
    return found


async def test_the_files_are_read_once_for_a_burst_and_then_again(
    files: MachineFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = LocalNames(files)
    known = await names.know("orders")
    assert (known.addresses, known.search.domains) == (("10.0.0.1",), ("corp.example",))
    files.hosts.write_text("10.0.0.2 orders\n")
    assert (await names.know("orders")).addresses == ("10.0.0.1",)
    monkeypatch.setattr(machine_files, "KEEP_S", 0.0)
    assert (await names.know("orders")).addresses == ("10.0.0.2",)


async def test_a_long_hosts_file_is_searched_all_the_same(files: MachineFiles) -> None:
    lines = "".join(f"0.0.0.0 ads-{number}.example\n" for number in range(KEEP_CHARACTERS // 20))
    files.hosts.write_text(f"{lines}10.0.0.3 orders\n")
    names = LocalNames(files)
    assert (await names.know("orders")).addresses == ("10.0.0.3",)
    assert (await names.know("ads-7.example")).addresses == ("0.0.0.0",)


async def test_a_burst_of_names_finds_all_that_a_long_hosts_file_has(
    files: MachineFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that gets no thread would say that the file lacks the name, and name servers would say so, too."""
    may_end = threading.Event()
    search = machine_files._search

    def slow_search(hosts: Path, host: str) -> tuple[str, ...]:
        may_end.wait(10.0)
        return search(hosts, host)

    files.hosts.write_text("#" * KEEP_CHARACTERS + "\n10.0.0.1 orders\n")
    names = LocalNames(files)
    await names.know("orders")  # the files have been read
    monkeypatch.setattr(machine_files, "_search", slow_search)
    asked = [asyncio.ensure_future(names.know("orders")) for _ in range(3 * MAX_THREADS)]
    for _ in range(6 * MAX_THREADS):
        await asyncio.sleep(0)
    may_end.set()
    assert {known.addresses for known in await asyncio.gather(*asked)} == {("10.0.0.1",)}


@pytest.mark.usefixtures("no_threads")
async def test_files_that_cannot_be_read_say_nothing(files: MachineFiles) -> None:
    assert (await LocalNames(files).know("orders")).addresses == ()


def test_a_machine_has_the_names_of_its_lines_and_its_search_list() -> None:
    hosts = "127.0.0.1 localhost\n127.0.1.1 Web1.prod.example.net web1 # web9\n10.0.0.9 other.example web10\n"
    assert own_names("web1", hosts, ("corp.example",)) == {"web1", "web1.prod.example.net", "web1.corp.example"}
    assert own_names("web1.prod.example.net.", hosts, ()) == {"web1.prod.example.net", "web1"}
    assert own_names("", hosts, ()) == frozenset()


async def test_the_names_of_this_machine_are_read(tmp_path: Path) -> None:
    own = socket.gethostname().lower()
    (tmp_path / "hosts").write_text(f"127.0.1.1 {own}.test.example {own}\n")
    (tmp_path / "resolv.conf").write_text("search corp.example\n")
    names = await machine_names(MachineFiles(tmp_path / "hosts", tmp_path / "resolv.conf"))
    assert {own, f"{own}.test.example", f"{own.partition('.')[0]}.corp.example"} <= names
    assert own in await machine_names(MachineFiles(tmp_path / "none", tmp_path / "none"))
