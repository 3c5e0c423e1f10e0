"""Histograms without locks: each value in the bucket of the smallest bound that is not below it, with its trace."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from registry_core.telemetry.bucket_counts import BucketCounts
from registry_core.telemetry.exposition import Exposition
from registry_core.telemetry.histograms import SECONDS, LabelledHistogram, TracedCounts
from tests.openmetrics import families_in
from tests.samples import FakeClock

TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_a_value_is_counted_at_its_bound_and_above_the_last_one_as_infinite() -> None:
    counts = TracedCounts((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        counts.observe_in(None, value)
    assert counts.rows() == [("1.0", 2), ("2.0", 4), ("+Inf", 5)]
    assert (counts.count, counts.sum) == (5, 14.0)
    assert isinstance(counts, BucketCounts)


def test_a_bucket_shows_the_latest_trace_and_a_value_without_one_leaves_it() -> None:
    counts = TracedCounts((1.0,))
    for trace, value in (("a" * 32, 0.1), (TRACE, 0.2), (None, 0.3)):
        counts.observe_in(trace, value)
    (low, above) = counts.rows()
    assert low[:2] == ("1.0", 3)
    assert (low[2].labels, low[2].value) == ({"trace_id": TRACE}, 0.2)  # type: ignore[misc]  # a row with an exemplar
    assert above == ("+Inf", 3)


def test_what_openmetrics_reads_are_the_series_with_their_exemplars() -> None:
    registry, histogram = CollectorRegistry(), LabelledHistogram("took_seconds", "How long.", ("path",))
    registry.register(histogram)
    assert histogram.of("/a") is histogram.of("/a")
    histogram.of("/a").observe_in(TRACE, 0.003)
    histogram.of("/b").observe_in(None, 30.0)
    text, _ = Exposition(registry, FakeClock()).text("application/openmetrics-text")
    family = families_in(text)["took_seconds"]
    buckets = {(s.labels["path"], s.labels["le"]): s for s in family.samples if s.name == "took_seconds_bucket"}
    assert len(buckets) == 2 * (len(SECONDS) + 1)
    exemplar = buckets["/a", "0.005"].exemplar
    assert exemplar is not None
    assert (exemplar.labels, exemplar.value) == ({"trace_id": TRACE}, 0.003)
    assert [key for key, sample in buckets.items() if sample.exemplar is not None] == [("/a", "0.005")]
    assert registry.get_sample_value("took_seconds_count", {"path": "/b"}) == 1
