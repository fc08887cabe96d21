"""Signatures of webhook messages as Standard Webhooks has them (docs/notifications.md).

The signed bytes are `<webhook-id>.<webhook-timestamp>.<body>`. A symmetric key (`whsec_…`) makes `v1,<HMAC-SHA256>`, an
Ed25519 key (`whsk_…`, verified with `whpk_…`) makes `v1a,<signature>`; both in padded base64, as the field writes them.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field

from quorate.identity import ed25519

SYMMETRIC, PRIVATE, PUBLIC = "whsec_", "whsk_", "whpk_"
TOLERANCE_SECONDS = 300
"""A receiver refuses a message whose timestamp is further away than this."""


class WebhookKeyError(ValueError):
    """A key that cannot be used; the message names the rule, never the key."""


@dataclass(frozen=True, slots=True)
class WebhookKey:
    """One key: a shared secret of 24 to 64 bytes, or an Ed25519 seed of 32."""

    prefix: str
    secret: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "WebhookKey":
        """From `whsec_<base64>` or `whsk_<base64>`.

        Raises:
            WebhookKeyError: another prefix, no base64, or another length.
        """
        for prefix, shortest, longest in ((SYMMETRIC, 24, 64), (PRIVATE, 32, 32)):
            if text.startswith(prefix):
                secret = _decode(text.removeprefix(prefix))
                if not shortest <= len(secret) <= longest:
                    raise WebhookKeyError(f"a key {prefix}… must have {shortest} to {longest} bytes")
                return cls(prefix, secret)
        raise WebhookKeyError(f"a key must begin with {SYMMETRIC} (HMAC-SHA256) or {PRIVATE} (Ed25519)")

    @property
    def public(self) -> str | None:
        """What a receiver verifies an Ed25519 signature with; None for a shared secret."""
        return PUBLIC + _encode(ed25519.public_key_of(self.secret)) if self.prefix == PRIVATE else None

    def sign(self, message: bytes) -> str:
        """One element of `webhook-signature`."""
        if self.prefix == SYMMETRIC:
            return "v1," + _encode(hmac.digest(self.secret, message, hashlib.sha256))
        return "v1a," + _encode(ed25519.sign(self.secret, message))


def signed_bytes(message_id: str, timestamp: int, body: bytes) -> bytes:
    """What is signed; `timestamp` in Unix seconds is that of the attempt."""
    return b"%s.%d.%s" % (message_id.encode(), timestamp, body)


def headers(keys: Sequence[WebhookKey], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of one attempt; several keys (a rotation) give several signatures."""
    message = signed_bytes(message_id, timestamp, body)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(key.sign(message) for key in keys),
    }


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise WebhookKeyError("a key must be base64 after its prefix") from error
