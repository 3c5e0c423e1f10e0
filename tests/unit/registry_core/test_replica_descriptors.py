"""A replica's budget of descriptors: its connections to Redis have room, however many clients there are."""

from __future__ import annotations

import pytest

from registry_core.replica_descriptors import RESERVED, enough_descriptors, replica_budget
from registry_core.store.redis.url import PoolTerms, RedisSettings, redis_settings

SENTINELS = "redis+sentinel://a:26379,b:26379,c:26379/0?masters=one,two,three"
BESIDE = 8 + 2 * 3


def store(pool: PoolTerms) -> RedisSettings:
    return RedisSettings(
        access=redis_settings(SENTINELS).access,
        sentinels=redis_settings(SENTINELS).sentinels,
        masters=("one", "two", "three"),
        pool=pool,
    )


def test_without_redis_the_port_has_all_but_a_few() -> None:
    assert replica_budget(1024, None).connections == 1024 - RESERVED
    assert replica_budget(None, None).connections == replica_budget(1_000_000, None).connections == 25_000
    assert replica_budget(10, None).connections == 16


@pytest.mark.parametrize("limit", [256, 1024, 4096, 100_000])
def test_connections_that_have_not_set_up_tls_yet_have_a_share(limit: int) -> None:
    budget = replica_budget(limit, store(PoolTerms(5, 50)), with_tls=True)
    assert budget.redis is not None
    used = 3 * (budget.redis.pool.most + BESIDE)
    assert RESERVED + budget.connections + budget.handshakes + used <= limit
    assert budget.handshakes >= 16
    assert replica_budget(None, None, with_tls=True).handshakes == 1000
    assert replica_budget(limit, None).handshakes == 0


@pytest.mark.parametrize("limit", [256, 512, 1024, 4096])
@pytest.mark.parametrize("most", [4, 50, 1000])
def test_port_and_pools_fit_the_limit(limit: int, most: int) -> None:
    budget = replica_budget(limit, store(PoolTerms(5, most)))
    assert budget.redis is not None
    pool = budget.redis.pool
    assert 0 <= pool.idle <= pool.most <= most
    assert pool.most >= 4
    assert RESERVED + budget.connections + 3 * (pool.most + BESIDE) <= limit


def test_a_pool_that_fits_stays_as_it_is_set() -> None:
    settings = store(PoolTerms(5, 50))
    for limit in (None, 1024, enough_descriptors(settings)):
        assert replica_budget(limit, settings).redis == settings
    assert replica_budget(enough_descriptors(settings), settings).connections == 25_000
