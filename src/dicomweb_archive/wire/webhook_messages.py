"""Messages to webhooks, signed as Standard Webhooks has it: an id, a time, an HMAC-SHA256 over both and the body."""

import base64
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what secrets begin with
SECRET_BYTES: Final = 32
MESSAGE_TYPE: Final = "changes"
TEST_TYPE: Final = "test"

_PURPOSE: Final = b"webhook message 1 "


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """A message: the same id each time that it is sent, so that a receiver knows it again."""

    id: str
    body: bytes

    def headers(self, secret: bytes, now: datetime) -> dict[str, str]:
        """Return the headers of one attempt; the signature covers the time, so that no old one can be sent again."""
        timestamp = str(int(now.timestamp()))
        signed = b".".join((self.id.encode(), timestamp.encode(), self.body))
        signature = base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()
        return {
            "content-type": "application/json",
            "webhook-id": self.id,
            "webhook-timestamp": timestamp,
            "webhook-signature": f"v1,{signature}",
        }


def changes_message(
    secret: bytes, *, after: int, end: int, changes: Sequence[Mapping[str, Any]], next_place: str, now: datetime
) -> WebhookMessage:
    """Put changes behind a position, up to another, into a message.

    Positions are told to nobody, so the id is made of them with the secret.
    """
    digest = hmac.digest(secret, _PURPOSE + b"%d %d" % (after, end), "sha256")
    document = {
        "type": MESSAGE_TYPE,
        "timestamp": now.astimezone(UTC),
        "data": {"changes": changes, "next": next_place},
    }
    text = orjson.dumps(document, option=orjson.OPT_UTC_Z)
    return WebhookMessage("msg_" + base64.b32encode(digest[:20]).decode().lower(), text)


def test_message(now: datetime) -> WebhookMessage:
    """Make a message that says nothing, for whoever wants to know whether messages arrive; each has its own id."""
    document = {"type": TEST_TYPE, "timestamp": now.astimezone(UTC), "data": {}}
    text = orjson.dumps(document, option=orjson.OPT_UTC_Z)
    return WebhookMessage("msg_test_" + secrets.token_hex(10), text)


def new_secret() -> bytes:
    """Make a secret that nobody can guess."""
    return secrets.token_bytes(SECRET_BYTES)


def format_secret(secret: bytes) -> str:
    """Write a secret as receivers' libraries read it."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()
