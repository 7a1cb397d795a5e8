"""The private key of a key pair: PEM text and passphrase in, DER bytes out, in memory."""

from __future__ import annotations

from pydantic import SecretStr

from flow_of_flows.errors import ConfigurationError

MALFORMED_TODO = "store the whole PEM text, from -----BEGIN to -----END, with its line breaks (\\n in JSON)"


def der(pem: SecretStr, passphrase: SecretStr | None, *, where: str) -> bytes:
    """The key as the connector takes it: PKCS #8, DER.

    Raises:
        ConfigurationError: it is no PEM text, or the passphrase is missing or does not fit.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    text = pem.get_secret_value()
    encrypted = "ENCRYPTED" in text.partition("\n")[0] or "Proc-Type: 4,ENCRYPTED" in text
    if encrypted and passphrase is None:
        raise ConfigurationError(
            "The private key is encrypted, and there is no passphrase",
            where=where,
            todo="add private_key_passphrase to the secret",
        )
    word = passphrase.get_secret_value().encode() if passphrase is not None and encrypted else None
    try:
        key = serialization.load_pem_private_key(text.encode(), word)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Without the chain: a parser may quote what it could not read.
        raise _unreadable(where, encrypted=encrypted) from None
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _unreadable(where: str, *, encrypted: bool) -> ConfigurationError:
    if encrypted:
        return ConfigurationError(
            "The private key cannot be decrypted: the passphrase does not fit, or the text is damaged",
            where=where,
            todo="correct private_key_passphrase or private_key in the secret",
        )
    return ConfigurationError("The private key is no PEM text", where=where, todo=MALFORMED_TODO)
