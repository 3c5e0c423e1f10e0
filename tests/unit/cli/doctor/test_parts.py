"""How the doctor reads files, waits, and reports: prepared folders stand for machines."""

from __future__ import annotations

import fcntl
import json
import math
import os
import socket
import threading
from pathlib import Path

import pytest

from agent.view.state_dir import StateDir as HeldFolder
from cli.doctor.facts import Libc
from cli.doctor.finding import DoctorFinding, DoctorSeverity
from cli.doctor.libc import hosts_line
from cli.doctor.machine import read_machine
from cli.doctor.parallel import Together
from cli.doctor.report import report_json, report_text
from cli.doctor.resolv_conf import ResolvConf, read_resolv_conf
from cli.doctor.state_dir_facts import look_at
from registry_core.listening_sockets import Listener

TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:22B8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3412 1 0 100 0 0 10 0
   1: 0100007F:22B9 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 3413 1 0 20 4 30 10 -1
"""
UDP6 = """  sl  local_address                         remote_address                        st tx_queue rx_queue
   0: 00000000000000000000000001000000:0035 00000000000000000000000000000000:0000 07 00000000:00000000 00:00 0 0 0 99 2
"""


def write(root: Path, **files: str) -> Path:
    """Write files under `root`; `__` in a name stands for a slash."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


# -- resolv.conf


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", ResolvConf()),
        ("nameserver 10.0.0.1\n nameserver 10.0.0.2\n#nameserver 10.0.0.3\n", ResolvConf(servers=("10.0.0.1",))),
        ("nameserver fe80::1%eth0\n", ResolvConf(servers=("fe80::1%eth0",))),
        ("nameserver dns.corp\nnameserver\n", ResolvConf(wrong=("dns.corp",))),
        ("search a.b. C.d\n", ResolvConf(search=("a.b", "c.d"))),
        ("search a.b\ndomain c.d\n", ResolvConf(search=("c.d",))),
        ("search .\n", ResolvConf()),
        (" search a.b\n\toptions ndots:5\n", ResolvConf()),
        (
            "options ndots:5 timeout:1\noptions attempts:3 rotate\n",
            ResolvConf(ndots=5, timeout_s=1, attempts=3, rotates=True),
        ),
        ("options ndots:99 timeout:x attempts:-1\n", ResolvConf(ndots=15)),
        ("# ExtServers: [host(10.0.0.53)]\n", ResolvConf(docker_asks="host(10.0.0.53)")),
    ],
)
def test_resolv_conf_is_read_as_glibc_reads_it(text: str, read: ResolvConf) -> None:
    assert read_resolv_conf(text) == read


def test_three_servers_are_used_and_loopback_where_there_is_none() -> None:
    assert read_resolv_conf("".join(f"nameserver 10.0.0.{n}\n" for n in range(5))).used == tuple(
        f"10.0.0.{n}" for n in range(3)
    )
    assert read_resolv_conf("").used == ("127.0.0.1",)


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        ("", ("files", "dns")),
        ("passwd: files\n  hosts :  files  [!UNAVAIL=return]dns # x\n", ("files", "[!UNAVAIL=return]", "dns")),
        ("#hosts: nis\nhosts: mdns4_minimal [NOTFOUND = return] dns", ("mdns4_minimal", "[NOTFOUND = return]", "dns")),
    ],
)
def test_the_sources_of_nsswitch_keep_their_actions(text: str, sources: tuple[str, ...]) -> None:
    assert hosts_line(text) == sources


# -- a machine


def test_an_empty_machine_has_no_facts_and_causes_no_errors(tmp_path: Path) -> None:
    found = read_machine(tmp_path)
    assert (found.resolv_conf, found.nsswitch, found.rmem_max, found.listeners) == (None, None, None, ())
    assert (found.in_container, found.may_bind_low, found.low_ports_end) == (False, False, 1024)


def test_the_files_of_a_machine_are_read_under_its_root(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        **{
            "etc__resolv.conf": "nameserver 127.0.0.11\n",
            "etc__nsswitch.conf": "hosts: files\n",
            ".dockerenv": "",
            "proc__sys__net__ipv4__ip_unprivileged_port_start": "0\n",
            "proc__sys__net__core__rmem_max": "212992\n",
            "proc__self__status": "Name:\tx\nCapEff:\t0000000000000400\n",
        },
    )
    found = read_machine(root)
    assert found.resolv_conf == "nameserver 127.0.0.11\n"
    assert found.nsswitch == "hosts: files\n"
    assert found.in_container
    assert (found.low_ports_end, found.rmem_max, found.may_bind_low) == (0, 212992, True)


@pytest.mark.parametrize(
    ("cmdline", "own"),
    [
        ("/usr/bin/tini\0--\0vertice\0agent\0", True),
        ("/opt/vertice/bin/python\0/opt/vertice/bin/vertice\0agent\0--config\0x\0", True),
        ("python\0-m\0cli.main\0agent\0", True),
        ("/usr/bin/tini\0--\0vertice\0registry\0", False),
        ("python\0/srv/agent\0", False),
        ("", False),
    ],
)
def test_a_container_is_the_agent_s_own_when_it_begins_with_the_agent(tmp_path: Path, cmdline: str, own: bool) -> None:
    root = write(tmp_path, **{".dockerenv": "", "proc__1__cmdline": cmdline})
    assert read_machine(root).is_agents_own is own
    (root / ".dockerenv").unlink()
    assert not read_machine(root).is_agents_own, "no container"


def test_the_containers_of_a_pod_have_one_resolv_conf(tmp_path: Path) -> None:
    files = {"proc__1__cmdline": "vertice\0agent\0", "proc__1__cgroup": "0::/kubepods/besteffort/pod1/x\n"}
    root = write(tmp_path, **files)
    found = read_machine(root)
    assert (found.in_container, found.is_agents_own) == (True, False)


def test_other_capabilities_bind_no_low_port(tmp_path: Path) -> None:
    write(tmp_path, proc__self__status="CapEff:\t00000000fffffbff\n")
    assert not read_machine(tmp_path).may_bind_low


def test_listeners_are_read_with_their_programs(tmp_path: Path) -> None:
    write(tmp_path, proc__net__tcp=TCP, proc__net__udp6=UDP6, proc__7__comm="dnsmasq\n")
    (tmp_path / "proc/7/fd").mkdir()
    (tmp_path / "proc/7/fd/3").symlink_to("socket:[99]")
    (tmp_path / "proc/7/fd/4").symlink_to("/dev/null")
    assert set(read_machine(tmp_path).listeners) == {
        Listener("tcp", "127.0.0.1", 8888, ""),
        Listener("udp", "::1", 53, "dnsmasq (pid 7)"),
    }


def test_our_own_listener_is_found_on_the_real_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(("127.0.0.1", 0))
        found = {(one.kind, one.host, one.port): one.holder for one in read_machine().listeners}
        assert f"(pid {os.getpid()})" in found["tcp", "127.0.0.1", listening.getsockname()[1]]
        assert f"(pid {os.getpid()})" in found["udp", "127.0.0.1", datagrams.getsockname()[1]]


def musl(root: Path, said: str = "musl libc (x86_64)\nVersion 1.2.3\n") -> Path:
    write(root, **{"lib__ld-musl-x86_64.so.1": f"#!/bin/sh\necho '{said}' >&2\nexit 1\n"})
    (root / "lib/ld-musl-x86_64.so.1").chmod(0o755)
    return root


def test_musl_is_recognised_by_its_loader_which_gives_the_version(tmp_path: Path) -> None:
    assert read_machine(musl(tmp_path)).libc == Libc(is_musl=True, version="1.2.3")


def test_a_musl_without_a_version_is_recognised(tmp_path: Path) -> None:
    root = musl(tmp_path, said="?")
    assert read_machine(root).libc == Libc(is_musl=True)
    (root / "lib/ld-musl-x86_64.so.1").chmod(0o644)
    assert read_machine(root).libc == Libc(is_musl=True)


def test_musl_next_to_glibc_is_not_the_libc(tmp_path: Path) -> None:
    write(musl(tmp_path), **{"lib__x86_64-linux-gnu__libc.so.6": ""})
    assert not read_machine(tmp_path).libc.is_musl
    # Alpine, with a compatibility layer for glibc programs.
    write(tmp_path, **{"etc__alpine-release": "3.20\n"})
    assert read_machine(tmp_path).libc.is_musl


# -- AGENT_STATE_DIR


def test_our_own_folder_is_fine(tmp_path: Path) -> None:
    found = look_at(tmp_path)
    assert (found.problem, found.exists, found.is_folder, found.writable) == ("", True, True, True)
    assert found.owner == found.user == os.geteuid()
    assert found.free_bytes > 0
    assert (found.locked_by, found.has_damaged_snapshot) == ("", False)
    assert list(tmp_path.iterdir()) == [], "nothing was created"


def test_a_missing_folder_is_not_created(tmp_path: Path) -> None:
    found = look_at(tmp_path / "a" / "b")
    assert (found.exists, found.can_be_made) == (False, True)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder_is_reported(tmp_path: Path) -> None:
    write(tmp_path, file="")
    assert not look_at(tmp_path / "file").is_folder
    assert look_at(tmp_path / "file" / "below").problem == "Not a directory"
    write(tmp_path, **{"snapshot.bad": "x"})
    assert look_at(tmp_path).has_damaged_snapshot


def test_the_holder_of_the_folder_is_found_without_trying_the_lock(tmp_path: Path) -> None:
    held = HeldFolder(tmp_path)
    held.open()
    assert held.is_held
    assert look_at(tmp_path).locked_by == f"the process {os.getpid()}"
    held.close()
    assert look_at(tmp_path).locked_by == ""
    with (tmp_path / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # examining it has left no lock behind


# -- waiting


def test_a_hanging_job_is_abandoned_and_named() -> None:
    never = threading.Event()
    together = Together(limit_s=0.2)
    quick, slow = together.begin("quick", lambda: 1), together.begin("slow", lambda: int(never.wait()))
    assert quick.job is not None
    assert quick.job.wait_blocking(20)
    assert (together.result(quick, 0), together.result(slow, 0)) == (1, 0)
    assert together.missing == ["slow"]
    never.set()


def test_a_failing_job_is_named_with_its_reason_and_the_others_continue() -> None:
    together = Together(limit_s=10)
    broken, fine = together.begin("broken", lambda: int("x")), together.begin("fine", lambda: 1)
    assert (together.result(broken, 0), together.result(fine, 0)) == (0, 1)
    assert together.missing == ["broken (it failed unexpectedly (ValueError))"]


@pytest.mark.usefixtures("no_threads")
def test_a_job_that_cannot_start_is_named_with_its_reason() -> None:
    together = Together(limit_s=10)
    begun = together.begin("the disk", lambda: 1)
    assert together.result(begun, 0) == 0
    assert together.missing == ["the disk (the system allows no more threads (doctor))"]


# -- reporting

FOUND = [
    DoctorFinding(
        "order",
        DoctorSeverity.ERROR,
        "the agent is second " * 6,
        "it matters",
        "nameserver 127.0.0.1    # " + "x" * 120,
    ),
    DoctorFinding("small", DoctorSeverity.NOTE, "small", "a little", "larger"),
    DoctorFinding("port", DoctorSeverity.OK, "the port is free"),
]


def test_the_text_has_the_worst_first_with_reason_and_cure() -> None:
    lines = report_text(FOUND, width=100).splitlines()
    assert lines[0].startswith("error    the agent is second the agent")
    assert lines[1].startswith("         ")
    assert lines[1].endswith("[order]")
    assert lines[2] == "         why   it matters"
    assert lines[3] == f"         cure  {FOUND[0].cure}", "a cure is one line, so that it can be copied"
    assert lines[4] == "note     small [small]"
    assert lines[-1] == "1 error, 1 note; 1 check passed"
    assert not any("port" in line for line in lines)
    assert all(len(line) <= 100 for line in lines if "cure" not in line)


def test_findings_with_one_cure_are_listed_with_one_cure() -> None:
    alike = [
        DoctorFinding("low", DoctorSeverity.NOTE, f"{name} is low", "it matters", "raise it") for name in ("a", "b")
    ]
    lines = report_text([*alike, FOUND[1]], width=100).splitlines()
    assert lines[:4] == [
        "note     a is low [low]",
        "note     b is low [low]",
        "         why   it matters",
        "         cure  raise it",
    ]
    assert lines[-1] == "3 notes; 0 checks passed"


def test_passed_checks_are_shown_on_request() -> None:
    assert "ok       the port is free [port]" in report_text(FOUND, width=100, verbose=True).splitlines()
    assert report_text(FOUND[2:], width=100) == "no problems; 1 check passed"


def test_colours_are_only_for_terminals_and_never_from_observed_text() -> None:
    evil = [DoctorFinding("x", DoctorSeverity.ERROR, "says \x1b[2J\r\nhello", "why", "cu\x1bre")]
    assert "\x1b" not in report_text(evil, width=100)
    coloured = report_text(evil, width=100, colours=True)
    assert coloured.startswith("\x1b[31merror   \x1b[0m says ?[2J??hello [x]")
    assert coloured.count("\x1b") == 2


def test_json_has_every_finding() -> None:
    said = json.loads(report_json(FOUND))
    assert (said["errors"], said["warnings"], said["notes"], said["fine"]) == (1, 0, 1, 1)
    assert [one["id"] for one in said["findings"]] == ["order", "small", "port"]
    assert set(said["findings"][0]) == {"id", "severity", "what", "why", "cure"}


# -- programs in Java


@pytest.mark.parametrize(
    ("commands", "kept_s"),
    [
        ([], None),
        (["python\0-m\0billing"], None),
        (["java\0-jar\0app.jar"], 30.0),
        (["java\0-Dsun.net.inetaddr.ttl=5\0-jar\0app.jar"], 5.0),
        (["java\0-Dsun.net.inetaddr.ttl=5\0-Dsun.net.inetaddr.ttl=7\0Main"], 7.0),
        (["java\0-Dsun.net.inetaddr.ttl=-1\0Main"], math.inf),
        (["java\0-Dsun.net.inetaddr.ttl=x\0Main"], 30.0),
        (["java\0-Dsun.net.inetaddr.ttl=5\0Main", "java\0-Dsun.net.inetaddr.ttl=60\0Main"], 60.0),
    ],
)
def test_the_command_of_a_program_in_java_says_how_long_it_keeps_an_address(
    tmp_path: Path, commands: list[str], kept_s: float | None
) -> None:
    for number, command in enumerate(commands, 1):
        name = command.partition("\0")[0]
        write(tmp_path, **{f"proc__{number}__comm": f"{name}\n", f"proc__{number}__cmdline": command})
    assert read_machine(tmp_path).java_keeps_s == kept_s
