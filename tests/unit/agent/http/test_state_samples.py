"""What the metrics say of the program itself."""

from __future__ import annotations

from agent.http.samples import Sample
from agent.http.state_samples import certificate_samples, program_samples
from registry_core.security.certificate_health import CertificateHealth


def shown(samples: list[Sample]) -> dict[str, object]:
    return {sample.name: dict(sample.values) for sample in samples}


def test_a_program_says_which_it_is_and_since_when_it_runs() -> None:
    assert shown(list(program_samples("1.2.3", "eu-1a", 1000.0, 5.0))) == {
        "vertice_build_info": {("1.2.3", "agent", "eu-1a"): 1.0},
        "vertice_start_time_seconds": {(): 1000.0},
        "agent_uptime_seconds": {(): 5.0},
    }


def test_a_certificate_that_has_ended_shows_how_long_ago() -> None:
    own = CertificateHealth(serial="1f", expires_at=1000.0)
    assert shown(list(certificate_samples(own, None, 1060.0))) == {"agent_tls_certificate_ends_seconds": {(): -60.0}}


def test_without_a_certificate_there_is_no_end() -> None:
    """0 would look like a certificate that ends now."""
    for own in (None, CertificateHealth(problem="the file is gone")):
        assert shown(list(certificate_samples(own, None, 1060.0))) == {}
