"""The settings of traces: OpenTelemetry's names, in an environment that others share."""

from __future__ import annotations

import pytest

from agent.settings.settings import read_agent_settings
from registry_core.replica_settings import replica_settings
from registry_core.setting_sources import read_settings
from registry_core.telemetry.redaction import secrets_in
from registry_core.telemetry.trace_settings import TRACE_SETTINGS, TraceSettings, trace_settings

AT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
# https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
OF_OTHERS = (
    "OTEL_LOG_LEVEL",
    "OTEL_PROPAGATORS",
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BLRP_SCHEDULE_DELAY",
    "OTEL_BLRP_MAX_QUEUE_SIZE",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_EXPORTER_ZIPKIN_ENDPOINT",
    "OTEL_EXPORTER_PROMETHEUS_HOST",
    "OTEL_METRICS_EXPORTER",
    "OTEL_LOGS_EXPORTER",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_CONFIG_FILE",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_INSECURE",
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
    "OTEL_EXPORTER_JAEGER_ENDPOINT",
    "OTEL_PYTHON_LOG_CORRELATION",
    "SERVICE_NAME",
)


def read(**environment: str) -> TraceSettings:
    return trace_settings(read_settings(TRACE_SETTINGS, environment))


def test_without_an_endpoint_there_are_no_traces() -> None:
    assert read() == TraceSettings()
    assert read(OTEL_TRACES_EXPORTER="otlp") == TraceSettings()


@pytest.mark.parametrize("off", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}])
def test_they_can_be_turned_off(off: dict[str, str]) -> None:
    assert read(**AT, **off) == TraceSettings()


def test_the_endpoint_gets_its_path_and_that_of_traces_is_taken_as_it_is() -> None:
    assert read(**AT).endpoint == "http://collector:4318/v1/traces"
    assert read(OTEL_EXPORTER_OTLP_ENDPOINT="https://c/x/").endpoint == "https://c/x/v1/traces"
    assert read(**AT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://t:1/otlp").endpoint == "http://t:1/otlp"


def test_one_new_trace_in_ten_is_recorded_by_default() -> None:
    assert (read(**AT).sampler, read(**AT).ratio) == ("parentbased_traceidratio", 0.1)
    assert read(**AT, OTEL_TRACES_SAMPLER_ARG="0.5").ratio == 0.5


def test_headers_and_attributes_are_lists_of_pairs() -> None:
    settings = read(
        **AT,
        OTEL_EXPORTER_OTLP_HEADERS="api-key=a%20b, x=y",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment=prod,team=a%2Cb",
        OTEL_EXPORTER_OTLP_TIMEOUT="2500",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
    )
    assert settings.headers == (("api-key", "a b"), ("x", "y"))
    assert settings.attributes == (("deployment.environment", "prod"), ("team", "a,b"))
    assert (settings.timeout_s, settings.gzip) == (2.5, True)
    assert "a b" not in repr(settings)


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "the protocol is 'grpc'"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"}, "'collector:4317/v1/traces' is no URL such as http://"),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is 'zipkin'"),
        ({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, "OTEL_TRACES_SAMPLER is 'jaeger_remote'"),
        ({"OTEL_TRACES_SAMPLER_ARG": "2"}, "OTEL_TRACES_SAMPLER_ARG is '2': it is a number from 0 to 1"),
        ({"OTEL_BSP_SCHEDULE_DELAY": "soon"}, "OTEL_BSP_SCHEDULE_DELAY is 'soon'"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "a=b%0d%0ac"}, "OTEL_EXPORTER_OTLP_HEADERS has what cannot be a header"),
    ],
)
def test_what_is_meant_for_another_exporter_keeps_traces_off_and_says_why(
    environment: dict[str, str], why: str
) -> None:
    settings = read(**{**AT, **environment})
    assert settings.endpoint == ""
    assert why in settings.problem


def test_a_service_s_own_settings_of_opentelemetry_keep_no_program_from_starting() -> None:
    environment = {**dict.fromkeys(OF_OTHERS, "web"), **AT, "SERVICE_PORT": "8001"}
    assert replica_settings(environment).unknown == ()
    assert read_agent_settings(environment).traces.endpoint == "http://collector:4318/v1/traces"


def test_a_collector_s_key_is_a_secret_of_the_program() -> None:
    settings = replica_settings({**AT, "OTEL_EXPORTER_OTLP_HEADERS": "api-key=the-collectors-key"})
    assert "the-collectors-key" in set(secrets_in(settings))
