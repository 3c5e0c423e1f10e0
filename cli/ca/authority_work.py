"""What `vertice ca init`, `intermediate` and `rotate` do, in the folder of an authority."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cli.ca.authority_folder import AuthorityFolder, domain_in
from registry_core.security.authority.authority_files import AuthorityChain, key_pem
from registry_core.security.authority.certificates import (
    Domain,
    Signer,
    cross_certificate,
    new_intermediate,
    new_key,
    new_root,
    pem_of,
    registry_certificate,
)
from registry_core.security.authority.lifetimes import (
    DAY_S,
    INTERMEDIATE_DAYS,
    ROOT_DAYS,
    authority_validity,
    service_validity,
)
from registry_core.security.authority.rotation import AuthorityState, RotationStage, RotationStep, after
from registry_core.security.identities import Role


class RegistryCertificate(NamedTuple):
    """A certificate and its key, in PEM, and when it ends (Unix seconds)."""

    certificate: bytes
    key: bytes
    ends: float


def make_authority(
    folder: AuthorityFolder,
    domain: Domain,
    passphrase: bytes,
    now: float,
    *,
    root_days: float = ROOT_DAYS,
    days: float = INTERMEDIATE_DAYS,
) -> AuthorityChain:
    """Make an authority: its first root and intermediate. Raises NoFolder, OSError."""
    folder.create()
    root = new_root(domain, authority_validity(now, root_days))
    folder.write_root(1, root, passphrase)
    state = AuthorityState(trust_domain=domain.trust_domain, zones=domain.zones, since=now)
    intermediate = _intermediate(root, domain, now, days)
    chain = AuthorityChain(intermediate.certificate, (), (root.certificate,))
    folder.write(state, chain, intermediate)
    return chain


def renew_intermediate(
    folder: AuthorityFolder, passphrase: bytes, now: float, *, days: float = INTERMEDIATE_DAYS
) -> AuthorityChain:
    """Replace the intermediate by a new one of the same root. Raises NoFolder, UnusableFolder, OSError."""
    state, before = folder.state(), folder.chain()
    root = folder.root_signer(state.signing, passphrase)
    intermediate = _intermediate(root, domain_in(state), now, days)
    chain = AuthorityChain(intermediate.certificate, before.crossed, before.roots)
    folder.write(state, chain, intermediate)
    return chain


def issue(
    folder: AuthorityFolder, hosts: Sequence[str], role: Role | None, passphrase: bytes, now: float, *, days: float
) -> RegistryCertificate:
    """Issue a certificate for the registry itself or for an operator, by the root that signs at present.

    Raises ValidationError for a wrong host, NoFolder, UnusableFolder, OSError.
    """
    state = folder.state()
    root = folder.root_signer(state.signing, passphrase)
    ends = root.certificate.not_valid_after_utc.timestamp()
    key = new_key()
    validity = service_validity(now, days * DAY_S, ends)
    certificate = registry_certificate(root, domain_in(state), key.public_key(), validity, hosts=hosts, role=role)
    return RegistryCertificate(pem_of([certificate]), key_pem(key), certificate.not_valid_after_utc.timestamp())


def rotate(
    folder: AuthorityFolder,
    step: RotationStep,
    passphrase: bytes,
    now: float,
    *,
    longest_s: float,
    root_days: float = ROOT_DAYS,
    days: float = INTERMEDIATE_DAYS,
) -> tuple[AuthorityState, AuthorityChain]:
    """Carry out one step of a rotation. Raises WrongStep, NoFolder, UnusableFolder, OSError."""
    old, before = folder.state(), folder.chain()
    state, domain = after(old, step, now, longest_s=longest_s), domain_in(old)
    match step:
        case RotationStep.ANNOUNCE:
            # The passphrase is that of the old root, too: one for all roots of an authority.
            folder.root_signer(old.signing, passphrase)
            root = new_root(domain, authority_validity(now, root_days))
            folder.write_root(state.roots[-1], root, passphrase)
            chain, intermediate = AuthorityChain(before.intermediate, (), (*before.roots, root.certificate)), None
        case RotationStep.SIGN:
            previous, root = (folder.root_signer(number, passphrase) for number in state.roots)
            intermediate = _intermediate(root, domain, now, days)
            ends = previous.certificate.not_valid_after_utc.timestamp()
            crossed = cross_certificate(previous, root.certificate, domain, authority_validity(now, root_days, ends))
            chain = AuthorityChain(intermediate.certificate, (crossed,), before.roots)
        case RotationStep.RETIRE:
            chain, intermediate = AuthorityChain(before.intermediate, (), (folder.root(state.signing),)), None
    folder.write(state, chain, intermediate)
    return state, chain


def next_step(stage: RotationStage) -> str:
    """Return what is to be done after the files were copied, as a sentence for people."""
    match stage:
        case RotationStage.STEADY:
            return "nothing else is to be done"
        case RotationStage.ANNOUNCED:
            return (
                "agents and verifiers get both roots now; once all have them (agents within minutes), run "
                "`vertice ca rotate sign`"
            )
        case RotationStage.SIGNING:
            return (
                "agents renew their certificates under the new root now; once none of the old one is left, run "
                "`vertice ca rotate retire`"
            )


def _intermediate(root: Signer, domain: Domain, now: float, days: float) -> Signer:
    ends = root.certificate.not_valid_after_utc.timestamp()
    return new_intermediate(root, domain, authority_validity(now, days, ends))
