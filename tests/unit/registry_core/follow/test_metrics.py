from __future__ import annotations

from registry_core.follow.metrics import add_follow_metrics
from registry_core.follow.settings import FollowSettings
from registry_core.replica import Replica
from registry_core.replica_settings import ReplicaSettings
from registry_core.telemetry.metrics import ReplicaMetrics

URLS = ("http://10.0.0.1:8888", "http://10.0.0.2:8888")


def test_each_upstream_has_its_value_and_nothing_is_known_before_it_was_read() -> None:
    parts = Replica(ReplicaSettings(follow=FollowSettings(URLS))).follower
    assert parts is not None
    metrics = ReplicaMetrics()
    add_follow_metrics(metrics, parts.link, parts.view, parts.watch)
    text = metrics.exposition().decode()
    for url in URLS:
        assert f'registry_upstream_followed{{upstream="{url}"}} 0.0' in text
    assert "registry_upstream_age_seconds +Inf" in text
    assert 'registry_upstream_streams_total{event="lost"} 0.0' in text
