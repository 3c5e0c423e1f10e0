"""Whether a service can call another one by a new name, judging by certificates, Host headers and proxies."""

from __future__ import annotations

import pytest

from cli.compose.address_syntax import HardCodedAddress
from cli.compose.errors import NOWHERE
from cli.compose.reader import project_of
from cli.compose.renaming import Renaming
from cli.compose.value_edits import Refused
from tests.growth import grows_linearly

NAME = "cart.vertice.internal"


def why_not(environment: str, cart: str = "expose: [8010]", address: HardCodedAddress | None = None) -> str:
    """Return why `shop` cannot call `cart` by its new name, nothing when it can."""
    text = f"services: {{shop: {{environment: {{{environment}}}}}, cart: {{{cart}}}}}".encode()
    services = project_of([("c.yml", text)]).services
    address = address or HardCodedAddress("CART_HOST", NOWHERE, "cart", 8010, port_variable="CART_PORT")
    try:
        Renaming(services).check(services["shop"], address, services["cart"], NAME)
    except Refused as reason:
        return str(reason)
    return ""


@pytest.mark.parametrize(
    ("environment", "variable"),
    [
        ("HTTP_PROXY: 'http://proxy.example:3128'", "HTTP_PROXY"),
        ("https_proxy: 'http://proxy.example:3128', NO_PROXY: 'cart,localhost'", "https_proxy"),
        ("ALL_PROXY: 'http://proxy.example:3128', NO_PROXY: 'other.internal, .'", "ALL_PROXY"),
        ("http_proxy: 'http://proxy.example:3128', no_proxy: 'localhost, .vertice.internal'", None),
        ("HTTP_PROXY: 'http://proxy.example:3128', NO_PROXY: 'vertice.internal:8010'", None),
        ("HTTP_PROXY: 'http://proxy.example:3128', no_proxy: a, NO_PROXY: '*'", None),
        ("HTTP_PROXY: ''", None),
        ("NO_PROXY: localhost", None),
    ],
)
def test_a_request_by_the_new_name_does_not_go_to_a_proxy(environment: str, variable: str | None) -> None:
    expected = "" if variable is None else f"shop has {variable}, and its NO_PROXY does not name {NAME}"
    assert why_not(environment) == expected
    grpc = HardCodedAddress("CART_URL", NOWHERE, "cart", 8010, "grpc")
    assert why_not(environment, address=grpc) == ""


@pytest.mark.parametrize(
    ("environment", "is_tls"),
    [
        ("CART_SCHEME: https", True),
        ("CART_PROTOCOL: 'HTTPS://'", True),
        ("CART_USE_TLS: 'true'", True),
        ("CART_SSL: require", True),
        ("CART_TLS_CA: /certs/ca.pem", True),
        ("CART_HTTPS_PORT: '8443'", False),
        ("CART_TLS_CA: ''", False),
        ("CART_SSL_MODE: disable", False),
        ("CART_SCHEME: http", False),
        ("CART_USE_TLS: 'false'", False),
        ("OTHER_SCHEME: https", False),
        ("TLS: 'true'", False),
    ],
)
def test_a_variable_beside_a_host_tells_of_tls(environment: str, *, is_tls: bool) -> None:
    assert ("the certificate is for the name in the file" in why_not(environment)) is is_tls
    plain = HardCodedAddress("CART_URL", NOWHERE, "cart", 8010, "http")
    assert why_not(environment, address=plain) == ""


def test_a_scheme_or_a_health_check_on_that_port_tells_of_tls() -> None:
    check = "healthcheck: {test: 'curl -k https://localhost:8010/'}"
    assert "the certificate" in why_not("", check)
    assert why_not("", check.replace("8010", "8011")) == ""
    assert "the certificate" in why_not("", address=HardCodedAddress("CART_URL", NOWHERE, "cart", 8010, "wss"))


@pytest.mark.parametrize(
    ("cart", "reason"),
    [
        ("environment: {ALLOWED_HOSTS: 'cart,localhost'}", "accepts only the hosts in its ALLOWED_HOSTS"),
        ("environment: {ALLOWED_HOSTS: '.vertice.internal'}", ""),
        ("networks: {default: {aliases: [basket]}}", ""),
    ],
)
def test_a_target_may_refuse_the_new_name(cart: str, reason: str) -> None:
    assert reason in why_not("", cart)
    assert bool(why_not("", cart)) is bool(reason)


def test_an_alias_may_be_a_virtual_host() -> None:
    address = HardCodedAddress("CART_URL", NOWHERE, "basket", 8010, "http")
    assert "basket is an alias of cart" in why_not("", "networks: {default: {aliases: [basket]}}", address)


def test_thousands_of_variables_are_read_once() -> None:
    def check(count: int) -> None:
        text = "services: {shop: {environment: {" + ", ".join(f"A{n}_TLS: 'true'" for n in range(count)) + "}}}"
        services = project_of([("c.yml", text.encode())]).services
        renaming = Renaming(services)
        for number in range(count):
            address = HardCodedAddress(f"A{number}_HOST", NOWHERE, "shop", 1)
            with pytest.raises(Refused, match=f"A{number}_TLS"):
                renaming.check(services["shop"], address, services["shop"], NAME)

    assert grows_linearly(check, 4000)
