"""The settings of a replica: defaults, checks across settings, and who may write from where."""

from __future__ import annotations

import pytest

from registry_core.domain.breaker import BreakerTerms
from registry_core.domain.guard import GuardTerms
from registry_core.domain.selection import WhenNonePass
from registry_core.errors import SettingsError
from registry_core.replica_settings import SETTINGS, ReplicaSettings, replica_settings
from registry_core.setting_values import from_flags
from registry_core.store.redis.url import PoolTerms


def test_the_defaults_are_one_machine_on_loopback() -> None:
    settings = replica_settings({"REGISTRY_URL": "http://r:8888", "PATH": "/bin"})
    assert settings == ReplicaSettings()
    assert str(settings.listen) == "127.0.0.1:8888"
    terms = settings.terms
    assert (terms.ttl_s, terms.heartbeat_s, terms.grace_s, terms.sweep_every_s) == (60, 30, 15, 1)
    assert settings.rules.min_port == 1024


def test_everything_can_be_set() -> None:
    settings = replica_settings(
        {
            "REGISTRY_LISTEN": ":9999",
            "REGISTRY_STORE": "memory:",
            "REGISTRY_SECRET": "new-one, old-one",
            "REGISTRY_ZONE": "eu-1a",
            "REGISTRY_MIN_PORT": "80",
            "REGISTRY_WARMING": "3",
            "REGISTRY_LEASE_TTL": "2s",
            "REGISTRY_HEARTBEAT_INTERVAL": "500ms",
            "REGISTRY_LEASE_GRACE": "1",
            "REGISTRY_BREAKER_FAILURES": "5",
            "REGISTRY_BREAKER_OPEN": "2s",
            "REGISTRY_BREAKER_HALF_OPEN": "1",
            "REGISTRY_BREAKER_TRIALS": "20",
            "REGISTRY_BREAKER_SUCCESSES": "3",
            "REGISTRY_WHEN_NONE_PASS": "none",
            "REGISTRY_LOG_LEVEL": "debug",
        }
    )
    assert settings.secrets == ("new-one", "old-one")
    assert settings.terms.sweep_every_s == 0.5
    assert settings.terms.removed_after_s >= settings.terms.ttl_s
    assert settings.terms.amnesty_after_s == 2.0, "a shorter pause between sweeps expires no live lease"
    assert settings.breaker == BreakerTerms(failures=5, open_s=2.0, half_open_s=1.0, trial_share=0.2, successes=3)
    assert (settings.zone, settings.warming_s, str(settings.log_level)) == ("eu-1a", 3.0, "debug")
    assert settings.when_none_pass is WhenNonePass.NONE


def test_the_timeouts_and_limits_of_redis_can_be_set() -> None:
    settings = replica_settings(
        {
            "REGISTRY_STORE": "redis://r1",
            "REGISTRY_REDIS_TIMEOUT": "2",
            "REGISTRY_REDIS_RETRIES": "500ms,1",
            "REGISTRY_REDIS_POOL": "2-20",
            "REGISTRY_BREAKER_FAILURES": "5",
            "REGISTRY_BREAKER_OPEN": "10",
            "REGISTRY_BREAKER_HALF_OPEN": "4",
            "REGISTRY_BREAKER_TRIALS": "20",
            "REGISTRY_BREAKER_SUCCESSES": "3",
        }
    )
    assert (settings.redis_timeout_s, settings.redis_retries_s) == (2.0, (0.5, 1.0))
    assert settings.redis is not None
    assert settings.redis.pool == PoolTerms(2, 20)
    assert settings.breaker == BreakerTerms(5, 10.0, 4.0, 0.2, 3)


@pytest.mark.parametrize("pool", ["50", "5-", "60-50", "0-3", "5-1001", "-5-50"])
def test_a_pool_must_be_large_enough_for_a_shard(pool: str) -> None:
    with pytest.raises(SettingsError, match=r"REGISTRY_REDIS_POOL: .* \(example: 5-50\)"):
        replica_settings({"REGISTRY_REDIS_POOL": pool})


@pytest.mark.parametrize("retries", [",", "0", "1,,x", ",".join("1" * 11)])
def test_the_pauses_between_tries_are_durations(retries: str) -> None:
    with pytest.raises(SettingsError, match=r"REGISTRY_REDIS_RETRIES: .* \(example: 1,2,4\)"):
        replica_settings({"REGISTRY_REDIS_RETRIES": retries})


def test_beyond_loopback_there_is_a_secret_or_an_explicit_off() -> None:
    with pytest.raises(SettingsError, match="needs a secret"):
        replica_settings({"REGISTRY_LISTEN": "10.0.0.2:8888"})
    with pytest.raises(SettingsError, match="needs a secret"):
        replica_settings({}, from_flags({"REGISTRY_LISTEN": ("--listen", "0.0.0.0:8888")}))
    assert replica_settings({"REGISTRY_LISTEN": ":8888", "REGISTRY_AUTH": "off", "REGISTRY_SECRET": "s"}).secrets == ()
    assert replica_settings({"REGISTRY_LISTEN": ":8888", "REGISTRY_SECRET": "s3cret"}).secrets == ("s3cret",)
    for short in ("s", "s3cret,old"):
        with pytest.raises(SettingsError, match="6 or more characters"):
            replica_settings({"REGISTRY_LISTEN": ":8888", "REGISTRY_SECRET": short})
    assert replica_settings({"REGISTRY_SECRET": "s"}).secrets == ("s",)
    assert replica_settings({}, from_flags({"REGISTRY_LISTEN": ("--listen", "[::1]:0")})).secrets == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REGISTRY_SECRET", "a b"),
        ("REGISTRY_SECRET", "\u00e9"),
        ("REGISTRY_SECRET", ","),
        ("REGISTRY_SECRET", "a,b,c"),
        ("REGISTRY_STORE", "postgres://r"),
        ("REGISTRY_ZONE", "a zone"),
        ("REGISTRY_MIN_PORT", "0"),
        ("REGISTRY_HEARTBEAT_INTERVAL", "60"),
        ("REGISTRY_LEASE_GRACE", "0"),
        ("REGISTRY_WARMING", "-1"),
        ("REGISTRY_WHEN_NONE_PASS", "some"),
        ("REGISTRY_LOG_LEVEL", "loud"),
        ("REGISTRY_ZONES", "eu-1a"),
    ],
)
def test_a_wrong_setting_is_named_and_a_secret_is_not_shown(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        replica_settings({name: value})
    assert str(refusal.value).startswith(f"{name}: ")
    assert "\n" not in str(refusal.value)
    if name == "REGISTRY_SECRET":
        assert repr(value) not in str(refusal.value)


def test_every_example_can_be_read() -> None:
    for setting in SETTINGS:
        setting.read(setting.example)


def test_the_guards_settings_are_in_percent() -> None:
    assert replica_settings({}).terms.guard == GuardTerms(share=0.3, hold_s=300.0, budget_share=0.1)
    given = {"REGISTRY_GUARD_SHARE": "50", "REGISTRY_GUARD_HOLD": "1m", "REGISTRY_GUARD_BUDGET": "20"}
    assert replica_settings(given).terms.guard == GuardTerms(share=0.5, hold_s=60.0, budget_share=0.2)
    for name in ("REGISTRY_GUARD_SHARE", "REGISTRY_GUARD_BUDGET"):
        with pytest.raises(SettingsError, match=name):
            replica_settings({name: "101"})
