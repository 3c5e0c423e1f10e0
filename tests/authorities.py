"""Authorities and requests for tests, made in memory."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from cli.ca.authority_folder import AuthorityFolder
from cli.ca.authority_work import make_authority
from registry_core.authority_settings import AuthoritySettings
from registry_core.security.authority.authority_files import AuthorityChain, key_pem
from registry_core.security.authority.certificates import Domain, Signer, new_intermediate, new_root
from registry_core.security.authority.issuer import Issuer, issuer_of
from registry_core.security.authority.lifetimes import authority_validity
from tests.programs import find

DOMAIN = Domain("fleet.example", ("vertice.internal",))
PASSPHRASE = b"correct horse battery staple"
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def new_authority(domain: Domain = DOMAIN, *, days: float = 30) -> tuple[Signer, Signer, AuthorityChain]:
    """Return a root, an intermediate, and the chain of both."""
    now = time.time()
    root = new_root(domain, authority_validity(now, 300))
    intermediate = new_intermediate(root, domain, authority_validity(now, days))
    return root, intermediate, AuthorityChain(intermediate.certificate, (), (root.certificate,))


def new_issuer(domain: Domain = DOMAIN) -> Issuer:
    """Return an authority that signs."""
    _, intermediate, chain = new_authority(domain)
    return issuer_of(chain.pem, key_pem(intermediate.key))


def csr_of(key: PrivateKey, name: str = "anything", *names: x509.GeneralName) -> str:
    """Return a request by `key`, in PEM, that asks for these names."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM).decode()


def authority_in(folder: Path, domain: Domain = DOMAIN) -> AuthorityFolder:
    """Make an authority in a new folder, as `vertice ca init` does."""
    authority = AuthorityFolder(folder)
    make_authority(authority, domain, PASSPHRASE, time.time())
    return authority


def settings_for(authority: AuthorityFolder, lifetime_s: float = 3600.0) -> AuthoritySettings:
    """Return the settings of a replica that signs with an authority."""
    cert, key = map(str, authority.replicas)
    return AuthoritySettings(cert, key, DOMAIN.trust_domain, lifetime_s)


def verified(chain: bytes, bundle: bytes, folder: Path, *more: str) -> None:
    """Fail unless openssl trusts the first certificate of `chain` by the roots in `bundle`."""
    (folder / "chain.pem").write_bytes(chain)
    (folder / "bundle.pem").write_bytes(bundle)
    files = ["-CAfile", folder / "bundle.pem", "-untrusted", folder / "chain.pem", folder / "chain.pem"]
    argv = [find("openssl"), "verify", "-x509_strict", "-purpose", "sslserver", *more, *map(str, files)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
