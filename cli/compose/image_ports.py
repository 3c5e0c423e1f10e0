"""Every port on which the program of a well-known image may listen, beside its usual ones.

Pure. It serves to leave addresses alone: a port in this table is not wrong, whether or not `ports` or `expose` name it.
"""

from __future__ import annotations

from typing import Final

from cli.compose.images import image_name, well_known

# By the last part of the image's name, as the documentation of the images has them.
MORE_PORTS: Final[dict[str, tuple[int, ...]]] = {
    "pgvector": (5432,),
    **dict.fromkeys(("redis", "redis-stack-server", "valkey", "keydb", "dragonfly"), (16379, 26379)),
    **dict.fromkeys(("mysql", "mariadb", "percona"), (33060,)),
    "rabbitmq": (5671, 15671, 15692, 25672, 4369, 1883, 8883, 15675, 61613, 61614),
    "nats": (6222,),
    **dict.fromkeys(("zookeeper", "cp-zookeeper"), (2281, 2888, 3888, 8080)),
    **dict.fromkeys(("kafka", "cp-kafka", "cp-server"), (9093, 9094, 29092, 19092, 9101)),
    "redpanda": (29092, 8081, 8082, 33145),
    "pulsar": (6651, 8443),
    "activemq": (5672, 61613, 1883, 61614),
    "activemq-artemis": (5672, 61613, 1883, 5445),
    "mosquitto": (8883, 9001),
    "emqx": (8083, 8084, 8883),
    "elasticsearch": (9600, 9650),
    "opensearch": (9300, 9600, 9650),
    "logstash": (9600,),
    "fluent-bit": (24224, 2020),
    "vector": (8686,),
    "graylog": (12201, 1514, 5044),
    **dict.fromkeys(("nginx", "nginx-proxy", "httpd"), (443,)),
    "openresty": (80, 443),
    "caddy": (2019,),
    "haproxy": (80, 443, 8404),
    "envoy": (10000, 9901),
    "traefik": (443, 8080),
    "kong": (8000, 8001, 8002, 8443, 8444),
    "alertmanager": (9094,),
    "statsd-exporter": (9125,),
    "loki": (3100, 9095, 9096),
    "promtail": (9080,),
    "tempo": (3200, 4317, 4318, 9411, 14268, 9095, 55680),
    "mimir": (9009, 8080, 9095),
    "pyroscope": (4040,),
    "alloy": (12345, 4317, 4318, 9411, 14268),
    "agent": (12345, 4317, 4318),
    **dict.fromkeys(
        ("jaeger", "all-in-one", "jaeger-all-in-one"),
        (16686, 4317, 4318, 5775, 5778, 6831, 6832, 9411, 14250, 14268, 14269),
    ),
    "jaeger-collector": (14250, 14268, 14269, 9411, 4317, 4318),
    "jaeger-agent": (5778, 6831, 6832, 5775, 14271),
    "jaeger-query": (16686, 16685, 16687),
    "zipkin": (9410,),
    **dict.fromkeys(
        ("opentelemetry-collector", "opentelemetry-collector-contrib"),
        (8888, 8889, 9411, 13133, 14250, 14268, 55678, 55679, 55680, 55681),
    ),
    "otel-lgtm": (3000, 4317, 4318, 9090, 3200, 3100, 4040),
    "aspire-dashboard": (18888, 18889, 18890),
    "seq": (80, 5341, 45341),
    "influxdb": (8088,),
    "telegraf": (8125, 8092, 8094),
    "statsd": (8125, 8126),
    "victoria-metrics": (2003, 4242, 8089),
    **dict.fromkeys(("clickhouse", "clickhouse-server"), (9004, 9005, 9009)),
    "cassandra": (9160, 7000, 7001, 7199),
    "scylla": (10000, 9160, 9180),
    "couchdb": (4369, 9100),
    "couchbase": (8092, 8093, 8094, 11210),
    "neo4j": (7473,),
    "weaviate": (50051,),
    "milvus": (9091,),
    "chroma": (8000,),
    "minio": (9001,),
    "localstack": (4571,),
    "fake-gcs-server": (4443,),
    "elasticmq": (9325,),
    "vault": (8201,),
    "consul": (8501, 8502, 8600, 8300, 8301, 8302),
    "keycloak": (8443, 9000),
    "dex": (5556, 5557, 5558),
    "hydra": (4444, 4445, 5555),
    "kratos": (4433, 4434),
    "openldap": (389, 636),
    **dict.fromkeys(("temporal", "auto-setup"), (7233, 7234, 7235, 7239, 6933, 6934, 6935, 6939)),
    **dict.fromkeys(("mailhog", "mailpit"), (1080,)),
    "maildev": (1025, 8025, 1080),
    "mailcrab": (1025, 1080),
    "inbucket": (2500, 9000, 1100),
    "smtp4dev": (25, 80, 143),
    "greenmail": (3025, 3110, 3143, 3465, 3993, 3995, 8080),
    "selenium-hub": (4444, 4442, 4443),
    "docker": (2375, 2376),
    # Images to build on, which listen unless they are told otherwise.
    "aspnet": (80, 8080),
    "php": (80, 9000),
    **dict.fromkeys(("jetty", "payara", "wildfly"), (8080, 8443)),
    **dict.fromkeys(("open-liberty", "websphere-liberty"), (9080, 9443)),
    **dict.fromkeys(("uvicorn-gunicorn", "uvicorn-gunicorn-fastapi", "uwsgi-nginx", "uwsgi-nginx-flask"), (80, 443)),
}


def possible_ports(image: str | None) -> tuple[int, ...]:
    """Return the ports on which an image's program may listen; nothing for an image that is not known."""
    known = well_known(image)
    more = MORE_PORTS.get(image_name(image).rpartition("/")[2], ())
    return (*(known.ports if known is not None else ()), *more)
