"""Names are completed as the stub resolvers of libc complete them."""

from __future__ import annotations

import pytest

from dns.search_list import MAX_DOMAINS, SearchList, search_list

KUBERNETES = "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", SearchList(("corp.example",), 1)),
        ("nameserver 127.0.0.11\nsearch .\noptions ndots:0\n", SearchList((), 0)),
        ("search a.example b.example\ndomain c.example\n", SearchList(("c.example",), 1)),
        ("domain c.example\nsearch A.example. b.example a.example\n", SearchList(("a.example", "b.example"), 1)),
        ("search a.example\noptions timeout:1 ndots:99 rotate\n", SearchList(("a.example",), 15)),
        ("search a.example\noptions ndots:x\noptions ndots:2\n", SearchList(("a.example",), 2)),
        (" search a.example\n#search b.example\n;options ndots:3\nsearch\n", SearchList(("corp.example",), 1)),
    ],
)
def test_resolv_conf_is_read(text: str, expected: SearchList) -> None:
    assert search_list(text, "corp.example") == expected


def test_the_domains_are_bounded() -> None:
    assert len(search_list("search " + " ".join(f"d{n}.example" for n in range(99))).domains) == MAX_DOMAINS


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("orders", ["orders.shop.svc.cluster.local", "orders.svc.cluster.local", "orders.cluster.local", "orders"]),
        ("orders.shop", ["orders.shop.shop.svc.cluster.local", "orders.shop.svc.cluster.local"]),
        ("orders.shop.example.", ["orders.shop.example"]),
        ("a.b.c.d.e.f", ["a.b.c.d.e.f", "a.b.c.d.e.f.shop.svc.cluster.local"]),
    ],
)
def test_ndots_decides_what_comes_first(host: str, names: list[str]) -> None:
    assert list(search_list(KUBERNETES).completions(host))[: len(names)] == names


def test_a_name_with_a_dot_is_asked_for_as_it_is_first() -> None:
    assert SearchList(("corp.example",)).completions("orders.shop") == ("orders.shop", "orders.shop.corp.example")
    assert SearchList().completions("orders") == ("orders",)
    assert SearchList(("x" * 63 + ".example",) * 2).completions("a." + "b" * 63 + ".c" * 60) == (
        "a." + "b" * 63 + ".c" * 60,
    ), "what is too long is no name"
