"""Dear answers: made once for all clients, whatever these vary, and anew after a change."""

from __future__ import annotations

from collections.abc import Callable, Collection

import pytest

from dns.responder import Responder
from registry_core.domain.records import Service
from tests.samples import FakeClock, instance
from tests.views import StandingView
from tests.wire.asking import ZONE, data, parsed, question, responder
from tests.wire.test_cookies import CLIENT, asked, cookie_of

COUNT = 500
LIST = f"_services._dns-sd._udp.{ZONE}"
CROWD = f"_crowd._tcp.{ZONE}"


class CountingView(StandingView):
    """Counts how often everything is read that a dear answer is made of."""

    def __init__(self) -> None:
        self.read = 0
        super().__init__(
            [
                *(instance("crowd", f"10.1.{n >> 8}.{n & 255}") for n in range(COUNT)),
                *(instance(f"service-{n}", f"10.2.{n >> 8}.{n & 255}") for n in range(COUNT)),
            ]
        )

    def labels(self) -> Collection[str]:
        self.read += 1
        return super().labels()

    def find(self, name: str) -> Service | None:
        self.read += 1
        return super().find(name)


@pytest.fixture
def view() -> CountingView:
    return CountingView()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server(view: CountingView, clock: FakeClock) -> Responder:
    return responder(view, clock=clock, allow_networks=("127.0.0.0/8", "10.0.0.0/8"))


@pytest.mark.parametrize(("name", "qtype"), [(LIST, "PTR"), (CROWD, "SRV"), (f"crowd.{ZONE}", "A")])
@pytest.mark.parametrize("over_tcp", [False, True])
@pytest.mark.parametrize("varied", ["cookie", "payload", "case", "id"])
def test_a_dear_answer_is_made_once_whatever_is_varied(
    view: CountingView, server: Responder, name: str, qtype: str, varied: str, *, over_tcp: bool
) -> None:
    answer: Callable[[bytes], bytes | None] = server.tcp if over_tcp else server.udp

    def ask(number: int) -> bytes | None:
        match varied:
            case "cookie":
                plain = question(name, qtype, edns=1232)
                return answer(plain[:-2] + b"\0\x0c\0\x0a\0\x08" + number.to_bytes(8))
            case "payload":
                return answer(question(name, qtype, edns=1232 + number))
            case "case":
                spelled = "".join(c.upper() if number >> at & 1 else c for at, c in enumerate(name))
                return answer(question(spelled, qtype))
            case _:
                return answer(question(name, qtype, id_=number))

    for number in range(50):  # until all orders are there
        packed = ask(number)
        assert packed is not None
        assert packed[6:8] != b"\0\0", "there are answers"
    before = view.read
    for number in range(50, 500):
        assert ask(number) is not None
    assert view.read - before <= 4, "one answer in each form at most"


def test_an_answer_has_the_cookie_and_the_spelling_of_its_client(server: Responder) -> None:
    for number in range(20):
        answer = parsed(server.udp(asked(number.to_bytes(8), f"CrOwD.{ZONE}")))
        cookie = cookie_of(answer)
        assert cookie is not None
        assert cookie[:8] == number.to_bytes(8)
        assert str(answer.q.qname) == f"CrOwD.{ZONE}."


def test_a_change_is_in_the_next_answer(view: CountingView, server: Responder) -> None:
    query = asked(CLIENT, f"crowd.{ZONE}")
    for _ in range(20):
        server.tcp(query)
    view.become(instance("crowd", "10.9.9.9"))
    assert data(parsed(server.tcp(query))) == ["10.9.9.9"]


def test_a_new_service_is_in_the_next_list(view: CountingView, server: Responder) -> None:
    query = question(LIST, "PTR")
    assert len(parsed(server.tcp(query)).rr) == COUNT + 1
    view.put(instance("another", "10.3.0.1"))
    assert len(parsed(server.tcp(query)).rr) == COUNT + 2


def test_a_stale_view_is_said_in_the_next_answer(view: CountingView, server: Responder) -> None:
    query = question(LIST, "PTR", edns=1232)
    server.tcp(query)
    view.age(3600)
    assert b"\0\x0f\0\x02\0\x03" in (server.tcp(query) or b""), "error 3"


def test_orders_are_drawn_anew_after_a_moment(server: Responder, clock: FakeClock) -> None:
    query = question(CROWD, "SRV")
    seen: set[str] = set()
    for _ in range(30):
        for _ in range(8):
            seen |= set(data(parsed(server.udp(asked(CLIENT, f"crowd.{ZONE}")))))
        clock.pass_time(1.0)
    assert server.udp(query) is not None
    assert len(seen) > COUNT * 0.5


# -- truncated answers


@pytest.mark.parametrize("edns", [None, 1232])
@pytest.mark.parametrize("name", [LIST, CROWD])
def test_a_truncated_answer_to_another_machine_carries_nothing(server: Responder, name: str, edns: int | None) -> None:
    query = question(name, "PTR", edns=edns)
    for _ in range(20):
        packed = server.remote(query, "10.0.0.9")
        answer = parsed(packed)
        assert packed is not None
        assert (answer.header.tc, answer.rr, answer.auth) == (1, [], [])
        assert len(packed) == len(query), "no more than was sent"
        local = parsed(server.udp(query))
        assert (local.header.tc, bool(local.rr)) == (1, True), "for programs that use what they get, such as HAProxy"


def test_a_client_that_proved_its_address_gets_what_fits(server: Responder) -> None:
    name = f"crowd.{ZONE}"
    cookie = cookie_of(parsed(server.remote(asked(CLIENT, name), "10.0.0.9")))
    assert cookie is not None
    answer = parsed(server.remote(asked(cookie, name), "10.0.0.9"))
    assert (answer.header.tc, len(answer.rr) > 50) == (1, True)
    forged = parsed(server.remote(asked(cookie, name), "10.0.0.8"))
    assert (forged.header.tc, forged.rr) == (1, [])


def test_stubs_still_get_some_addresses_without_tc(server: Responder) -> None:
    """Musl before 1.2.4 asks without EDNS, and never over TCP."""
    answer = parsed(server.remote(question(f"crowd.{ZONE}"), "10.0.0.9"))
    assert (answer.header.tc, len(answer.rr)) == (0, 29)
