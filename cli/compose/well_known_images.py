"""The ports on which the programs of well-known images listen, and which images of a file are the fleet's own.

Pure. The ports are those that the images' documentation names, the main one first.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from cli.compose.model import Project

_POSTGRES: Final = (5432,)
_REDIS: Final = (6379, 16379, 26379)
_MYSQL: Final = (3306, 33060)
_RABBITMQ: Final = (5672, 5671, 15672, 15671, 15692, 25672, 4369, 1883, 8883, 15675, 61613, 61614)
_ZOOKEEPER: Final = (2181, 2281, 2888, 3888, 8080)
_KAFKA: Final = (9092, 9093, 9094, 29092, 19092, 9101)
_SEARCH: Final = (9200, 9300, 9600, 9650)
_OTLP: Final = (4317, 4318)
_COLLECTOR: Final = (*_OTLP, 8888, 8889, 9411, 13133, 14250, 14268, 55678, 55679, 55680, 55681)
_JAEGER: Final = (16686, *_OTLP, 5775, 5778, 6831, 6832, 9411, 14250, 14268, 14269)
_MAIL: Final = (1025, 8025, 1080)
_MSSQL: Final = (1433,)
PORTS: Final[dict[str, tuple[int, ...]]] = {
    "postgres": _POSTGRES,
    "postgresql": _POSTGRES,
    "postgis": _POSTGRES,
    "pgvector": _POSTGRES,
    "timescaledb": _POSTGRES,
    "redis": _REDIS,
    "redis-stack": (6379, 8001),
    "redis-stack-server": _REDIS,
    "valkey": _REDIS,
    "keydb": _REDIS,
    "dragonfly": _REDIS,
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "percona": _MYSQL,
    "mongo": (27017,),
    "mongodb": (27017,),
    "rabbitmq": _RABBITMQ,
    "memcached": (11211,),
    "nats": (4222, 8222, 6222),
    "nats-streaming": (4222, 8222),
    "zookeeper": _ZOOKEEPER,
    "cp-zookeeper": _ZOOKEEPER,
    "kafka": _KAFKA,
    "cp-kafka": _KAFKA,
    "cp-server": _KAFKA,
    "cp-schema-registry": (8081,),
    "cp-ksqldb-server": (8088,),
    "cp-kafka-connect": (8083,),
    "cp-kafka-rest": (8082,),
    "redpanda": (9092, 29092, 8081, 8082, 9644, 33145),
    "pulsar": (6650, 6651, 8080, 8443),
    "activemq": (61616, 8161, 5672, 61613, 1883, 61614),
    "activemq-artemis": (61616, 8161, 5672, 61613, 1883, 5445),
    "mosquitto": (1883, 8883, 9001),
    "emqx": (1883, 8083, 8084, 8883, 18083),
    "elasticsearch": _SEARCH,
    "opensearch": _SEARCH,
    "kibana": (5601,),
    "opensearch-dashboards": (5601,),
    "logstash": (5044, 9600),
    "fluentd": (24224,),
    "fluent-bit": (24224, 2020),
    "vector": (8686,),
    "graylog": (9000, 12201, 1514, 5044),
    "nginx": (80, 443),
    "nginx-unprivileged": (8080,),
    "nginx-proxy": (80, 443),
    "openresty": (80, 443),
    "httpd": (80, 443),
    "caddy": (80, 443, 2019),
    "haproxy": (80, 443, 8404),
    "envoy": (10000, 9901),
    "traefik": (80, 443, 8080),
    "kong": (8000, 8001, 8002, 8443, 8444),
    "prometheus": (9090,),
    "alertmanager": (9093, 9094),
    "pushgateway": (9091,),
    "node-exporter": (9100,),
    "cadvisor": (8080,),
    "blackbox-exporter": (9115,),
    "postgres-exporter": (9187,),
    "redis_exporter": (9121,),
    "statsd-exporter": (9102, 9125),
    "grafana": (3000,),
    "loki": (3100, 9095, 9096),
    "promtail": (9080,),
    "tempo": (3200, *_OTLP, 9411, 14268, 9095, 55680),
    "mimir": (9009, 8080, 9095),
    "pyroscope": (4040,),
    "alloy": (12345, *_OTLP, 9411, 14268),
    "agent": (12345, *_OTLP),
    "jaeger": _JAEGER,
    "all-in-one": _JAEGER,
    "jaeger-all-in-one": _JAEGER,
    "jaeger-collector": (14250, 14268, 14269, 9411, *_OTLP),
    "jaeger-agent": (5778, 6831, 6832, 5775, 14271),
    "jaeger-query": (16686, 16685, 16687),
    "zipkin": (9411, 9410),
    "zipkin-slim": (9411,),
    "opentelemetry-collector": _COLLECTOR,
    "opentelemetry-collector-contrib": _COLLECTOR,
    "otel-lgtm": (3000, *_OTLP, 9090, 3200, 3100, 4040),
    "aspire-dashboard": (18888, 18889, 18890),
    "seq": (80, 5341, 45341),
    "influxdb": (8086, 8088),
    "telegraf": (8125, 8092, 8094),
    "statsd": (8125, 8126),
    "victoria-metrics": (8428, 2003, 4242, 8089),
    "clickhouse": (8123, 9000, 9004, 9005, 9009),
    "clickhouse-server": (8123, 9000, 9004, 9005, 9009),
    "cassandra": (9042, 9160, 7000, 7001, 7199),
    "scylla": (9042, 10000, 9160, 9180),
    "couchdb": (5984, 4369, 9100),
    "couchbase": (8091, 8092, 8093, 8094, 11210),
    "cockroach": (26257, 8080),
    "neo4j": (7687, 7474, 7473),
    "arangodb": (8529,),
    "qdrant": (6333, 6334),
    "weaviate": (8080, 50051),
    "milvus": (19530, 9091),
    "chroma": (8000,),
    "minio": (9000, 9001),
    "localstack": (4566, 4571),
    "azurite": (10000, 10001, 10002),
    "fake-gcs-server": (4443,),
    "dynamodb-local": (8000,),
    "elasticmq": (9324, 9325),
    "vault": (8200, 8201),
    "consul": (8500, 8501, 8502, 8600, 8300, 8301, 8302),
    "etcd": (2379, 2380),
    "keycloak": (8080, 8443, 9000),
    "dex": (5556, 5557, 5558),
    "hydra": (4444, 4445, 5555),
    "kratos": (4433, 4434),
    "openldap": (389, 636),
    "temporal": (7233, 7234, 7235, 7239, 6933, 6934, 6935, 6939),
    "auto-setup": (7233, 7234, 7235, 7239, 6933, 6934, 6935, 6939),
    "mailhog": _MAIL,
    "mailpit": _MAIL,
    "maildev": _MAIL,
    "mailcatcher": (1025, 1080),
    "mailcrab": (1025, 1080),
    "inbucket": (2500, 9000, 1100),
    "smtp4dev": (25, 80, 143),
    "greenmail": (3025, 3110, 3143, 3465, 3993, 3995, 8080),
    "selenium-hub": (4444, 4442, 4443),
    "mssql-server": _MSSQL,
    "azure-sql-edge": _MSSQL,
    "solr": (8983,),
    "docker": (2375, 2376),
    "adminer": (8080,),
}
# Publishers of images for everybody: many services of one of them are no fleet of one's own.
_PUBLISHERS: Final = frozenset(
    [
        *("apache", "bitnami", "bitnamilegacy", "confluentinc", "elastic", "grafana", "hashicorp", "jaegertracing"),
        *("library", "linuxserver", "minio", "mcr.microsoft.com", "opensearchproject", "otel", "prom", "redis"),
        *("supabase", "temporalio", "victoriametrics", "wurstmeister", "openzipkin", "oryd", "authelia", "nginx"),
    ]
)
MIN_OWN: Final = 5


def image_name(image: str | None) -> str:
    """Return the last part of an image's name, in lower case, without tag and digest."""
    return (image or "").partition("@")[0].rpartition("/")[2].partition(":")[0].lower()


def usual_ports(image: str | None) -> tuple[int, ...]:
    """Return the ports on which a well-known image's program listens, the main one first; nothing for any other."""
    return PORTS.get(image_name(image), ())


def _publisher(image: str | None) -> str:
    """Return what stands before the last part of an image's name: a registry, an account, or both."""
    return (image or "").partition("@")[0].rpartition("/")[0].lower()


def own_images(project: Project) -> frozenset[str]:
    """Return the services whose image is the fleet's own: built here, or from where most of the file's images come.

    A deployed file often names the images that another one builds. Most means more than half of the services, and at
    least five, from one account that does not publish for everybody.
    """
    services = project.services.values()
    counts = Counter(_publisher(s.image) for s in services if _publisher(s.image))
    publisher, count = counts.most_common(1)[0] if counts else ("", 0)
    is_ours = count >= MIN_OWN and 2 * count > len(services) and not _PUBLISHERS & set(publisher.split("/"))
    return frozenset(
        s.name
        for s in services
        if (s.build is not None or (is_ours and _publisher(s.image) == publisher)) and not usual_ports(s.image)
    )
