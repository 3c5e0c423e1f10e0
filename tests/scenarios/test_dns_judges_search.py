"""Search lists with foreign suffixes in glibc, musl and c-ares: REFUSED ends them, NXDOMAIN does not."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import VERTICE, wait_until
from tests.scenarios.judged import ZONE, Judged, Ports, claim, judged, own_network

ADDRESS = "10.0.0.1"
RESOLV_CONF = f"""
nameserver 127.0.0.1
search {ZONE} svc.cluster.local
options ndots:5 timeout:1 attempts:1
"""
LATE = f"nameserver 127.0.0.1\nsearch svc.cluster.local {ZONE}\noptions timeout:1 attempts:1\n"
PYTHON = """
import json, socket, sys
try:
    print(json.dumps(sorted({info[4][0] for info in socket.getaddrinfo(sys.argv[1], 80)})))
except socket.gaierror as error:
    print(json.dumps(error.errno))
"""
CARES_PYTHON = """
import json, pycares, socket, sys, threading
found, done = [], threading.Event()
def answer(result, error):
    found.append(error if error else sorted(node.addr[0].decode() for node in result.nodes))
    done.set()
channel = pycares.Channel()
channel.getaddrinfo(sys.argv[1], None, family=socket.AF_INET, callback=answer)
done.wait(25)
names = pycares.errno.errorcode
print(json.dumps(names[found[0]] if isinstance(found[0], int) else found[0]))
"""
GLIBC, MUSL, CARES = "glibc", "musl", "c-ares"
REFUSED = {GLIBC: socket.EAI_AGAIN, MUSL: "Try again", CARES: "ARES_EREFUSED"}


def found(system: Judged, libc: str, host: str) -> object:
    """Return the addresses that the libc finds, or its error."""
    if libc in (GLIBC, CARES):
        return json.loads(system.run(sys.executable, "-c", PYTHON if libc == GLIBC else CARES_PYTHON, host))
    program = system.folder / "resolve"
    if not program.exists():
        system.run("musl-gcc", "-O1", "-Wall", "-o", str(program), str(Path(__file__).with_name("resolve.c")))
    words = system.run(str(program), host).strip()
    return words if words == "EAI_NONAME" or words[:1].isalpha() else words.split()


@pytest.fixture(scope="module", params=["none", "nxdomain"])
def forward(request: pytest.FixtureRequest) -> str:
    word: str = request.param
    return word


def running_with(folder: Path, resolv_conf: str, forward: str) -> Iterator[Judged]:
    with (
        own_network(folder, resolv_conf=resolv_conf, nsswitch_conf="hosts: files dns\n") as network,
        judged(folder, network, AGENT_DNS_FORWARD=forward) as system,
    ):
        system.register(claim("billing", ADDRESS))
        yield system


@pytest.fixture(scope="module")
def many_dots(tmp_path_factory: pytest.TempPathFactory, forward: str) -> Iterator[Judged]:
    yield from running_with(tmp_path_factory.mktemp(f"many-{forward}"), RESOLV_CONF, forward)


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory, forward: str) -> Iterator[Judged]:
    yield from running_with(tmp_path_factory.mktemp(f"late-{forward}"), LATE, forward)


@pytest.mark.parametrize("libc", [GLIBC, MUSL, CARES])
def test_where_the_zone_comes_later_a_refusal_hides_every_service(late: Judged, forward: str, libc: str) -> None:
    assert found(late, libc, "billing") == (REFUSED[libc] if forward == "none" else [ADDRESS])


@pytest.mark.parametrize("libc", [GLIBC, MUSL, CARES])
def test_with_many_dots_a_refusal_ends_the_lookup_of_a_whole_name_in_musl_and_c_ares(
    many_dots: Judged, forward: str, libc: str
) -> None:
    assert found(many_dots, libc, "billing") == [ADDRESS]
    fails = forward == "none" and libc != GLIBC
    assert found(many_dots, libc, f"billing.{ZONE}") == (REFUSED[libc] if fails else [ADDRESS])


@pytest.fixture(scope="module")
def warming(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judged]:
    folder = tmp_path_factory.mktemp("warming")
    conf = f"nameserver 127.0.0.1\nsearch {ZONE}\noptions ndots:5 timeout:1 attempts:1\n"
    # Without its registry, the agent knows of nothing but what its environment names.
    settings = {
        "REGISTRY_URL": "http://127.0.0.1:1",
        "AGENT_DNS_LISTEN": "127.0.0.1:53",
        "AGENT_DNS_FORWARD": "none",
        "BILLING_URL": f"http://{ADDRESS}:8034",
    }
    with own_network(folder, resolv_conf=conf, nsswitch_conf="hosts: files dns\n") as network:
        system = Judged(folder, Ports(8888, 8880, 53), network)
        with system.program(*VERTICE, "agent", log="agent.log", env=settings):
            url = "http://127.0.0.1:8880/services/billing"
            wait_until(lambda: system.attempt("curl", "-sS", "--fail", url).returncode == 0, "the agent answers")
            yield system


@pytest.mark.parametrize("libc", [GLIBC, MUSL, CARES])
def test_a_name_that_a_search_list_makes_is_denied_while_the_agent_cannot_tell_what_there_is(
    warming: Judged, libc: str
) -> None:
    """With ndots:5, billing.vertice.internal is first asked as billing.vertice.internal.vertice.internal."""
    assert found(warming, libc, f"billing.{ZONE}") == [ADDRESS]
