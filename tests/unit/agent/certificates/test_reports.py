"""The report of a certificate has no key in it."""

from __future__ import annotations

from agent.certificates.reports import CertificateReport


def test_a_report_names_a_file_and_no_secret() -> None:
    assert not [name for name in CertificateReport.__struct_fields__ if "key" in name]
