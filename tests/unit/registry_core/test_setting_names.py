"""Names that are no settings: slips of the keyboard are found, and names of other programs are left alone."""

from __future__ import annotations

import pytest

from agent.settings.table import TABLE
from registry_core.replica_settings import SETTINGS
from registry_core.setting_names import did_you_mean, edits, misspelt

OURS = tuple(dict.fromkeys(name for table in (TABLE, SETTINGS) for setting in table for name in setting.spellings))
# From Azure Pipelines, Jenkins, GitLab, Datadog, Consul's Registrator, the CNCF's registry, Docker's links, Kubernetes'
# service variables for services named agent, registry, vertice-registry and service-x, and from plain applications.
_FOREIGN = """
AGENT_NAME AGENT_ID AGENT_OS AGENT_VERSION AGENT_MACHINENAME AGENT_HOMEDIRECTORY AGENT_WORKFOLDER AGENT_TOOLSDIRECTORY
AGENT_BUILDDIRECTORY AGENT_JOBNAME AGENT_JOBSTATUS AGENT_TEMPDIRECTORY AGENT_OSARCHITECTURE AGENT_DISABLELOGPLUGIN_X
AGENT_CLOUD_ID AGENT_ROOTDIRECTORY AGENT_WORKDIR AGENT_HOME AGENT_HOST AGENT_PORT AGENT_URL AGENT_NODE AGENT_MODE
AGENT_LABELS AGENT_TAGS AGENT_TOKEN AGENT_STATIC_DIR JENKINS_AGENT_NAME JENKINS_AGENT_WORKDIR DD_AGENT_HOST DD_SERVICE
DD_TRACE_AGENT_PORT DD_TRACE_AGENT_URL SW_AGENT_NAME ELASTIC_APM_SERVICE_NAME OTEL_SERVICE_NAME NEW_RELIC_AGENT_ENABLED
SERVICE_ID SERVICE_FOO SERVICE_REGION SERVICE_IGNORE SERVICE_80_NAME SERVICE_CHECK_HTTP SERVICE_CHECK_INTERVAL
SERVICE_8034_CHECK_HTTP SERVICE_X_PORT SERVICE_X_SERVICE_HOST SERVICE_X_SERVICE_PORT SERVICE_X_PORT_80_TCP
SERVICE_X_PORT_80_TCP_ADDR SERVICE_A_PORT SERVICE_PORT_80_TCP SERVICE_PORT2 SERVICE_URL SERVICE_ROLE SERVICE_TASK
SERVICE_TYPE SERVICE_USER SERVICE_PATH SERVICE_ENV SERVICE_ACCOUNT SERVICE_DOMAIN SERVICE_PASSWORD SERVER_NAME
SERVER_PORT SERVER_HOST DEVICE_NAME DEVICE_HOST DEVICE_ZONE DEVICE_VERSION APP_NAME APP_PORT HOST PORT HOSTNAME NAME
REGISTRY_USER REGISTRY_PASSWORD REGISTRY_PASS REGISTRY_SERVER REGISTRY_HOST REGISTRY_PORT REGISTRY_NAME REGISTRY_IMAGE
REGISTRY_TOKEN REGISTRY_EMAIL REGISTRY_MIRROR REGISTRY_HTTP_ADDR REGISTRY_HTTP_SECRET REGISTRY_STORAGE
REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY REGISTRY_AUTH_HTPASSWD_PATH REGISTRY_AUTH_HTPASSWD_REALM
REGISTRY_PROXY_REMOTEURL
REGISTRY_LOG_ACCESSLOG_DISABLED REGISTRY_PORT_8888_TCP REGISTRY_PORT_8888_TCP_ADDR REGISTRY_PORT_8888_TCP_PROTO
REGISTRY_SERVICE_HOST REGISTRY_SERVICE_PORT REGISTRY_SERVICE_PORT_HTTP REGISTRY_ENV_VERSION CI_REGISTRY CI_REGISTRY_USER
CI_REGISTRY_IMAGE DOCKER_REGISTRY_URL NPM_REGISTRY_URL REGISTER_URL VERTICE_REGISTRY_PORT VERTICE_REGISTRY_SERVICE_HOST
VERTICE_REGISTRY_PORT_8888_TCP VERTICE_FLEET VERTICE_TAG AGENT_SERVICE_HOST AGENT_SERVICE_PORT AGENT_PORT_8880_TCP
KUBERNETES_SERVICE_HOST KUBERNETES_PORT_443_TCP LOG_LEVEL ZONE CONFIG HEARTBEAT_TIMEOUT HEARTBEAT_INTERVAL_MS
HEARTBEAT_URL WAIT_TIMEOUT INITIAL_TIMEOUT INTERVAL PATH HOME LANG TERM no_proxy http_proxy npm_config_registry
"""


@pytest.mark.parametrize("name", _FOREIGN.split())
def test_a_foreign_name_is_no_misspelt_setting(name: str) -> None:
    assert misspelt(name, OURS) is None


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("HEARTBEAT_INTERVALL", "HEARTBEAT_INTERVAL"),
        ("HEARTBEAT_INTERVAl", "HEARTBEAT_INTERVAL"),
        ("HEARBEAT_INTERVALL", "HEARTBEAT_INTERVAL"),
        ("HEARTBEATINTERVAL", "HEARTBEAT_INTERVAL"),
        ("HEARTBEAT-INTERVAL", "HEARTBEAT_INTERVAL"),
        ("heartbeat_interval", "HEARTBEAT_INTERVAL"),
        ("INITAL_WAIT_TIMEOUT", "INITIAL_WAIT_TIMEOUT"),
        ("VERTICE_REGISTRY_TOKN", "VERTICE_REGISTRY_TOKEN"),
        ("VERTCE_REGISTRY_TOKEN", "VERTICE_REGISTRY_TOKEN"),
        ("REGISTRY_SECRETS", "REGISTRY_SECRET"),
        ("REGISTRY_SECRET_FIEL", "REGISTRY_SECRET_FILE"),
        ("REGISTRY_URLS", "REGISTRY_URL"),
        ("REGISTRY_URI", "REGISTRY_URL"),
        ("REGISTY_URL", "REGISTRY_URL"),
        ("SERVICE_NMAE", "SERVICE_NAME"),
        ("SERVICE_TAG", "SERVICE_TAGS"),
        ("SERVICE__PORT", "SERVICE_PORT"),
        ("AGENT_HTTP_LISSTENN", "AGENT_HTTP_LISTEN"),
        ("AGENT_DNSLISTEN", "AGENT_DNS_LISTEN"),
    ],
)
def test_a_slip_of_the_keyboard_is_found_with_its_setting(name: str, meant: str) -> None:
    assert misspelt(name, OURS) == meant


def test_no_setting_counts_as_another_one_misspelt() -> None:
    for name in OURS:
        guess = misspelt(name, OURS)
        # These two differ in one letter that matters to their meaning, and both are settings.
        assert guess is None or guess in OURS
        assert misspelt(name, [name]) is None


def test_a_hint_is_near_or_absent() -> None:
    assert did_you_mean("prot", ["port", "protocol"]) == " (did you mean port?)"
    assert did_you_mean("colour", ["port", "protocol"]) == ""


@pytest.mark.parametrize(
    ("one", "other", "most", "distance"),
    [
        ("abc", "abc", 2, 0),
        ("abc", "acb", 2, 1),
        ("abc", "ab", 2, 1),
        ("abc", "xbcd", 2, 2),
        ("abc", "xyz", 2, 3),
        ("", "abcd", 2, 3),
    ],
)
def test_edits_are_counted_up_to_a_limit(one: str, other: str, most: int, distance: int) -> None:
    assert edits(one, other, most) == edits(other, one, most) == distance
