"""Ed25519 signatures of a bundle's manifest, by the package `cryptography` (extra `bundle`).

The keys are PEM files, as `openssl genpkey -algorithm ed25519` makes them. The signature covers the bytes of the
manifest, which has the SHA-256 of every other file.
"""

from __future__ import annotations

from pathlib import Path

from clipshelf.errors import InputError, MissingExtra


def sign(message: bytes, key: Path) -> bytes:
    """Return the signature, 64 bytes, of a message by the private key in a PEM file without a password.

    Raises InputError for a file that holds no such key, MissingExtra where the package is missing.
    """
    _require_package()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(key.read_bytes(), None)
    except (ValueError, TypeError) as error:
        raise InputError(f"{key}: expected a private key as a PEM file without a password, found: {error}") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise InputError(f"{key}: expected an Ed25519 key, found one of another kind")
    return private.sign(message)


def is_signed(message: bytes, signature: bytes, public_key: Path) -> bool:
    """Return whether `signature` is that of a message by the owner of the public key in a PEM file.

    Raises InputError for a file that holds no such key, MissingExtra where the package is missing.
    """
    _require_package()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        public = load_pem_public_key(public_key.read_bytes())
    except ValueError as error:
        raise InputError(f"{public_key}: expected a public key as a PEM file, found: {error}") from error
    if not isinstance(public, Ed25519PublicKey):
        raise InputError(f"{public_key}: expected an Ed25519 key, found one of another kind")
    try:
        public.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _require_package() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise MissingExtra(
            f'signatures: expected the package cryptography, pip install "clipshelf[bundle]", found: {error}'
        ) from error
