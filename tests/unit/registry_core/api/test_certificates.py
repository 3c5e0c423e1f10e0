"""The operations of certificates without a store that answers: a replica fails closed."""

from __future__ import annotations

import pytest

from registry_core.api.auth import Caller
from registry_core.api.calls import Call, WriteCall
from registry_core.api.certificate_schemas import CertificateBody, DenyBody
from registry_core.api.certificates import Certificates, NoAuthority, authority_of
from registry_core.authority_settings import AuthoritySettings
from registry_core.errors import NotFound, ValidationError
from registry_core.ports.denials import Denial, DenialsRead
from registry_core.security.denials_in_memory import DenialsInMemory
from tests.samples import FakeClock


class Unread:
    """A store that was never read."""

    async def add(self, denial: Denial) -> None:
        raise AssertionError(denial)

    async def read(self) -> DenialsRead:
        return DenialsRead((), (("main", "it is away"),), known=False)


def certificates(clock: FakeClock) -> Certificates:
    settings = AuthoritySettings()
    return Certificates(settings, authority_of(settings, clock), DenialsInMemory(clock), clock)


async def test_without_an_authority_nothing_is_issued() -> None:
    some = certificates(FakeClock())
    with pytest.raises(NoAuthority):
        await some.issue_certificate(WriteCall(caller=Caller(), body=CertificateBody(service_name="billing", csr="")))
    with pytest.raises(NoAuthority):
        some.authority(Call())
    assert some.outcomes == {"NoAuthority": 1}


async def test_a_list_that_was_never_read_is_not_taken_for_an_empty_one() -> None:
    clock, settings = FakeClock(), AuthoritySettings()
    some = Certificates(settings, authority_of(settings, clock), Unread(), clock)
    await some.refresh()
    assert not some.denied.known
    assert some.denied_list(Call()).unread == ["main: it is away"]


async def test_a_withdrawal_counts_even_when_the_clock_is_behind() -> None:
    clock = FakeClock()
    some = certificates(clock)
    caller = Caller()
    await some.deny(WriteCall(caller=caller, body=DenyBody(service_name="ip_intel")))
    clock.step_wall(-3600)
    said = await some.deny(WriteCall(caller=caller, body=DenyBody(service_name="ip-intel", withdraw=True)))
    assert said.denied == []
    with pytest.raises(NotFound):
        await some.deny(WriteCall(caller=caller, body=DenyBody(service_name="ip-intel", withdraw=True)))
    with pytest.raises(ValidationError):
        await some.deny(WriteCall(caller=caller, body=DenyBody(serial="xyz")))
