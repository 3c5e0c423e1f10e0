"""The doctor on machines that are broken on purpose: it finds each fault, and its cure works.

Each machine is a private network and mount namespace, with a registry and an agent on the usual ports. The doctor's
claims about a resolver are checked with that resolver: glibc's with getent, musl's with its own program.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.programs import VERTICE
from tests.scenarios.judged import ZONE, Judged, claim, judged, own_network

AGENT = "nameserver 127.0.0.1\n"
HEALTHY = f"{AGENT}search {ZONE}\n"
NSSWITCH = "hosts: files dns\n"
# Two other name servers of the machine: one denies every name, one refuses to answer.
OTHER = "nameserver 127.0.0.2\n"
REFUSING = "nameserver 127.0.0.3\n"
DNSMASQ = ("dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--pid-file=")
DNSMASQ_AT = (*DNSMASQ, "--bind-interfaces", "--user=root")
SETTINGS = ("AGENT_DNS_LISTEN=127.0.0.1:53", "AGENT_DNS_FORWARD=none", "NO_COLOR=1")


class Patient:
    """A machine whose files can be changed, and the doctor that examines it."""

    def __init__(self, system: Judged) -> None:
        self.system = system

    def write(self, *, resolv_conf: str = HEALTHY, nsswitch: str = NSSWITCH) -> None:
        """Change the files of the machine: they are mounted one by one, so they are rewritten in place."""
        (self.system.folder / "resolv_conf").write_text(resolv_conf)
        (self.system.folder / "nsswitch_conf").write_text(nsswitch)

    def examined(self, *words: str, more: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return the doctor's findings by id."""
        done = self.system.attempt("env", *SETTINGS, *more, *VERTICE, "doctor", "--json", *words)
        assert done.returncode in (0, 1), done.stderr
        return {one["id"]: one for one in json.loads(done.stdout)["findings"]}

    def finds(self, host: str) -> bool:
        """Return whether glibc finds a name."""
        return self.system.attempt("getent", "ahosts", host).returncode == 0


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Patient]:
    folder = tmp_path_factory.mktemp("doctor")
    with (
        own_network(folder, resolv_conf=HEALTHY, nsswitch_conf=NSSWITCH) as network,
        judged(folder, network) as system,
        system.program(*DNSMASQ_AT, "--listen-address=127.0.0.2", "--address=/#/", log="other.log"),
        system.program(*DNSMASQ_AT, "--listen-address=127.0.0.3", log="refusing.log"),
    ):
        system.register(claim("billing", "10.0.0.7"))
        yield Patient(system)


def test_a_healthy_machine_has_no_error_and_no_warning(patient: Patient) -> None:
    patient.write()
    found = patient.examined()
    bad = {one["id"] for one in found.values() if one["severity"] in ("error", "warning")}
    assert bad == set(), found
    assert {"resolv-conf", "lookup", "agent", "port-ours", "registry", "token", "clock", "libc"} <= set(found)
    assert patient.finds("billing")


def test_an_agent_after_another_server_is_found_and_the_cure_works(patient: Patient) -> None:
    patient.write(resolv_conf=f"{OTHER}{HEALTHY}")
    assert not patient.finds("billing"), "it is broken indeed"
    found = patient.examined()
    assert found["resolv-conf-order"]["what"] == "the agent is server 2 in /etc/resolv.conf, after 127.0.0.2"
    assert "lookup-lost" in found
    cure = found["resolv-conf-order"]["cure"].partition("    #")[0]
    patient.write(resolv_conf=f"{cure}\nsearch {ZONE}\n")
    healed = patient.examined()
    assert not {"resolv-conf-order", "lookup-lost"} & set(healed)
    assert "lookup" in healed
    assert patient.finds("billing")


def test_a_refusing_server_before_the_agent_is_a_warning_since_glibc_continues(patient: Patient) -> None:
    patient.write(resolv_conf=f"{REFUSING}{HEALTHY}")
    assert patient.finds("billing")
    found = patient.examined()
    assert found["resolv-conf-order-refused"]["severity"] == "warning"
    assert "lookup" in found
    assert "lookup-lost" not in found


def test_a_resolv_conf_without_the_agent_is_found_and_the_cure_works(patient: Patient) -> None:
    patient.write(resolv_conf=OTHER)
    found = patient.examined()
    assert {"resolv-conf-agent-missing", "lookup-lost"} <= set(found)
    patient.write(resolv_conf=found["resolv-conf-agent-missing"]["cure"].partition("    #")[0] + "\n")
    healed = patient.examined()
    assert not {"resolv-conf-agent-missing", "lookup-lost"} & set(healed)
    # Only the short name is missing now, which is reported too.
    assert not patient.finds("billing")
    patient.write(resolv_conf=f"{AGENT}{healed['search-zone']['cure'].partition('    #')[0]}\n")
    assert patient.finds("billing")
    assert "search-zone" not in patient.examined()


def test_an_nsswitch_without_dns_is_found_and_the_cure_works(patient: Patient) -> None:
    patient.write(nsswitch="hosts: files\n")
    assert not patient.finds("billing")
    found = patient.examined()
    assert {"nsswitch-no-dns", "lookup-lost"} <= set(found)
    patient.write(nsswitch=found["nsswitch-no-dns"]["cure"].partition("    #")[0] + "\n")
    assert not {"nsswitch-no-dns", "lookup-lost"} & set(patient.examined())
    assert patient.finds("billing")


def test_what_musl_makes_of_a_refusal_is_foretold_and_the_cure_heals_it(patient: Patient, tmp_path: Path) -> None:
    program = str(tmp_path / "resolve")
    source = str(Path(__file__).with_name("resolve.c"))
    patient.system.run("musl-gcc", "-O1", "-Wall", "-o", program, source)
    # A root like Alpine's, with the resolv.conf of this machine.
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/alpine-release").write_text("3.20\n")
    (root / "etc/resolv.conf").symlink_to("/etc/resolv.conf")
    (root / "lib").mkdir()
    (root / "lib/ld-musl-x86_64.so.1").write_text("")
    name = f"billing.{ZONE}"
    patient.write(resolv_conf=f"{AGENT}search {ZONE} svc.cluster.local\noptions ndots:5\n")
    assert patient.system.run(program, name).strip() == "Try again", "musl fails indeed"
    found = patient.examined("--root", str(root))
    assert found["musl-refused"]["severity"] == "error"
    assert "ends the lookup of billing.vertice.internal with 'Try again'" in found["musl-refused"]["why"]
    # glibc goes on after a refusal: nothing is foretold for it.
    assert patient.finds(name)
    assert "musl-refused" not in patient.examined()
    cure = found["musl-refused"]["cure"].partition("    #")[0]
    patient.write(resolv_conf=f"{HEALTHY}{cure}\n")
    assert "musl-refused" not in patient.examined("--root", str(root))
    assert patient.system.run(program, name).split() == ["10.0.0.7"]


def test_an_unprivileged_user_sees_the_same_findings_plus_the_port(patient: Patient) -> None:
    patient.write()
    without = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "env", *SETTINGS)
    doctor = (*VERTICE, "doctor", "--json")
    done = patient.system.attempt(*without, *doctor)
    assert {one["id"] for one in json.loads(done.stdout)["findings"]} == set(patient.examined())
    # The port belongs to the running agent. Where nothing listens yet, the privilege is missing.
    away = ("AGENT_HTTP_LISTEN=127.0.0.9:8880", "AGENT_DNS_LISTEN=127.0.0.9:53")
    done = patient.system.attempt(*without, *away, *doctor)
    assert "port-privileged" in {one["id"] for one in json.loads(done.stdout)["findings"]}
    assert "port-privileged" not in patient.examined(more=away)
