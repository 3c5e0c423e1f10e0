"""What a variable's name says: its words, and whether its value is compared and not looked up."""

from __future__ import annotations

import pytest

from cli.compose.variable_names import identity_of, is_list_of_accepted_hosts, words_of


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("DB_HOST", ("DB", "HOST")),
        ("DbHost", ("DB", "HOST")),
        ("db.host", ("DB", "HOST")),
        ("ConnectionStrings__Db", ("CONNECTION", "STRINGS", "DB")),
        ("HTTPServer2", ("HTTP", "SERVER", "2")),
        ("web.external-url", ("WEB", "EXTERNAL", "URL")),
        ("", ()),
    ],
)
def test_the_words_of_a_name_are_the_same_in_every_spelling(name: str, words: tuple[str, ...]) -> None:
    assert words_of(name) == words


@pytest.mark.parametrize(
    "name",
    [
        *("CORS_ORIGINS", "CORS_ALLOW_ORIGIN", "ALLOWED_ORIGINS", "CSRF_TRUSTED_ORIGINS", "ORIGIN", "cors-origin"),
        *("OIDC_ISSUER", "OIDC_ISSUER_URL", "jwt.issuer", "Authentication__Authority", "JWT_AUDIENCE"),
        *("REDIRECT_URI", "OAUTH_CALLBACK_URL", "POST_LOGOUT_REDIRECT_URI", "OAUTH_AUTHORIZE_URL"),
        *("PUBLIC_URL", "NEXT_PUBLIC_API", "VITE_API_URL", "REACT_APP_API", "GF_SERVER_ROOT_URL", "EXTERNAL_URL"),
        *("SITE_URL", "FRONTEND_URL", "APP_URL", "BASE_URL", "COOKIE_DOMAIN", "KC_HOSTNAME", "web.external-url"),
        *("ADVERTISED_URL", "KAFKA_ADVERTISED_LISTENERS", "advertise-addr", "ANNOUNCED_HOST"),
        *("VIRTUAL_HOST", "LETSENCRYPT_HOST", "SERVER_NAME", "DJANGO_ALLOWED_HOSTS", "cluster.initial_master_nodes"),
        "CLUSTER_HOSTNAME",
        *("NEXTAUTH_URL", "SAML_ENTITY_ID", "WEBAUTHN_RP_ID", "SAML_ACS_URL", "OAUTH2_PROXY_LOGIN_URL"),
        *("CSP_CONNECT_SRC", "ALLOWED_REFERERS", "NO_PROXY", "no_proxy", "URL_WHITELIST", "ALLOW_LIST", "HOST_HEADER"),
        *("OIDC_CLIENT_ID", "OAUTH_RESOURCE", "KEYCLOAK_REALM_URL", "JWT_CLAIMS_URL", "XML_NAMESPACE"),
        *("redirect_uri", "return_to", "next", "href", "BROWSER_API_URL"),
    ],
)
def test_a_name_that_is_compared_or_told_to_others_is_an_identity(name: str) -> None:
    assert identity_of(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "API_URL",
            "API_BASE_URL",
            "DB_HOST",
            "BACKEND",
            "ORIGIN_SERVER",
            "ORIGIN_URL",
            "AUTH_URL",
            "EXTERNAL_API_URL",
        ),
        *(
            "OIDC_ISSUER_JWKS_URL",
            "ISSUER_TOKEN_ENDPOINT",
            "PUBLIC_KEY_URL",
            "SEED_HOSTS",
            "REPUBLIC_URL",
            "DOMAIN_URL",
        ),
        *("command", "to", "", "VITE_PROXY_TARGET", "VITE_INTERNAL_API_URL"),
        # A service may be called like a claim, a browser or a resource.
        *("CLAIMS_URL", "BROWSER_URL", "RESOURCE_URL", "NEXT_URL", "NAMESPACE_URL", "SWAGGER_URL", "PROXY_URL"),
    ],
)
def test_a_name_that_is_looked_up_is_none(name: str) -> None:
    assert identity_of(name) == ""


@pytest.mark.parametrize(
    ("name", "accepts"),
    [("DJANGO_ALLOWED_HOSTS", True), ("TRUSTED_HOSTS", True), ("COOKIE_DOMAIN", False), ("VIRTUAL_HOST", False)],
)
def test_a_list_of_accepted_hosts_is_known_by_its_name(name: str, *, accepts: bool) -> None:
    assert is_list_of_accepted_hosts(name) is accepts
