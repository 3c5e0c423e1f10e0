"""When a certificate is renewed, and which roots are trusted."""

from __future__ import annotations

from agent.certificates.plan import (
    REMEMBERED_ISSUERS,
    RETRY,
    TOLD_BEFORE_REMOVAL,
    HeldCertificate,
    RenewalReason,
    ServiceCertificate,
    TrustedRoots,
    faults,
    poll_s,
    roots_in,
    shown_duration,
)

DAY = 86_400.0


def plan(draw: float = 0.5) -> ServiceCertificate:
    return ServiceCertificate("billing", lambda: draw)


def held(issued_at: float = 0.0, lasts_s: float = 300.0, issuer: str = "aa", serial: int = 1) -> HeldCertificate:
    return HeldCertificate(serial, issuer, issued_at, issued_at + lasts_s, 1_800_000_000.0)


def root(name: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n"


def test_a_missing_certificate_is_asked_for_at_once() -> None:
    assert plan().reason(0.0) is RenewalReason.MISSING
    assert plan().wait_s(0.0) == 0.0


def test_a_certificate_is_renewed_at_two_thirds() -> None:
    one = plan()
    one.holds(held())
    assert one.reason(199.0) is None
    assert one.wait_s(150.0) == 50.0
    assert one.reason(200.0) is RenewalReason.DUE


def test_certificates_that_were_issued_together_are_renewed_one_after_another() -> None:
    early, late = plan(0.0), plan(1.0)
    for one in (early, late):
        one.holds(held())
    assert early.renew_at < 200.0 < late.renew_at < 225.0


def test_failures_are_repeated_after_longer_and_longer_pauses() -> None:
    one, waits = plan(1.0), []
    for _ in range(12):
        one.failed("the registry is away", 0.0)
        waits.append(one.wait_s(0.0))
        assert one.reason(0.0) is None
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (RETRY.first_s, RETRY.most_s)


def test_a_success_ends_the_pauses() -> None:
    one = plan()
    one.failed("the registry is away", 0.0)
    one.holds(held())
    assert (one.problem, one.failures, one.reason(200.0)) == ("", 0, RenewalReason.DUE)


def test_a_denied_certificate_is_renewed_at_once() -> None:
    one = plan()
    one.holds(held())
    one.is_denied(10.0)
    assert one.reason(10.0) is RenewalReason.DENIED
    one.holds(held(10.0, serial=2))
    assert one.reason(11.0) is None


def test_a_new_authority_leads_to_a_renewal_soon_but_not_at_all_agents_at_once() -> None:
    early, late = plan(0.1), plan(0.9)
    for one in (early, late):
        one.holds(held(lasts_s=7 * DAY))
        one.authority_is("bb", 1000.0)
    assert 1000.0 < early.renew_at < late.renew_at <= 1600.0
    assert early.reason(1600.0) is RenewalReason.AUTHORITY_CHANGED


def test_replicas_that_disagree_about_the_authority_cause_one_renewal() -> None:
    one = plan()
    one.holds(held(issuer="old"))
    one.authority_is("new", 0.0)
    one.holds(held(issuer="new"))
    for issuer in ("old", "new", "old"):
        one.authority_is(issuer, 1.0)
        assert one.reason(60.0) is None
    for number in range(REMEMBERED_ISSUERS):
        one.holds(held(issuer=str(number)))
    one.authority_is("old", 0.0)  # forgotten: its memory has a bound
    assert one.reason(60.0) is RenewalReason.AUTHORITY_CHANGED


def test_the_health_speaks_once_a_renewal_is_overdue() -> None:
    one = plan()
    assert one.fault(0.0) == ""
    one.failed("the registry is away", 0.0)
    assert one.fault(0.0) == "billing has no certificate: the registry is away"
    one.holds(held())
    assert one.fault(229.0) == ""
    one.failed("the registry is away", 200.0)
    assert one.fault(231.0) == "the certificate of billing is overdue, and expires in 69 seconds: the registry is away"
    assert one.fault(301.0) == "the certificate of billing has expired: the registry is away"


def test_many_faults_share_a_sentence() -> None:
    many = [ServiceCertificate(f"service-{n}", lambda: 0.5) for n in range(12)]
    for one in many:
        one.failed("no", 0.0)
    assert len(faults(many, 0.0)) == 11
    assert faults(many, 0.0)[-1] == "2 more certificates are not well; see /self"


def test_a_new_root_is_trusted_at_once_and_an_old_one_until_all_replicas_agree() -> None:
    roots, old, new = TrustedRoots(), root("old"), root("new")
    assert roots.told(old)
    assert roots.told(old + new)
    assert roots.pem.decode() == old + new
    for _ in range(TOLD_BEFORE_REMOVAL - 1):
        assert not roots.told(new)
    assert not roots.told(old + new)  # one replica has not been given it
    for _ in range(TOLD_BEFORE_REMOVAL - 1):
        assert not roots.told(new)
    assert not roots.told(new, again=False)
    assert roots.told(new)
    assert roots.roots == (new,)


def test_an_answer_without_roots_takes_no_trust_away() -> None:
    roots = TrustedRoots()
    roots.told(root("old"))
    for _ in range(2 * TOLD_BEFORE_REMOVAL):
        assert not roots.told("")
        assert not roots.told("<html>")
    assert roots.roots == (root("old"),)


def test_roots_are_told_apart_by_their_text() -> None:
    assert roots_in(root("a") + "\n" + root("b").rstrip() + root("a")) == (root("a"), root("b"))


def test_the_registry_is_asked_more_often_when_certificates_are_short() -> None:
    assert poll_s(None) == poll_s(7 * DAY) == 60.0
    assert poll_s(20.0) == 1.0
    assert poll_s(200.0) == 10.0


def test_durations_are_shown_in_words() -> None:
    assert [shown_duration(s) for s in (1, 119, 121, 3 * 3600, 5 * DAY)] == [
        "1 seconds",
        "119 seconds",
        "2 minutes",
        "3 hours",
        "5 days",
    ]
