"""Signatures of S3 requests (AWS Signature Version 4, single chunk)."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from urllib.parse import quote

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_ALGORITHM = "AWS4-HMAC-SHA256"


def encode_query(query: Sequence[tuple[str, str]]) -> str:
    """Encode parameters in the one order and spelling that is signed."""
    return "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in sorted(query))


def sign(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    *,
    payload_sha256: str,
    now: datetime,
    region: str,
    access_key_id: str,
    secret_access_key: str,
) -> dict[str, str]:
    """Return the headers of a signed request: those given (names in lower case, `host` among them) and ours.

    Hot path: a hundredth of what the general client needs for a small read (benchmarks/storage).
    """
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    signed = {**headers, "x-amz-content-sha256": payload_sha256, "x-amz-date": moment}
    names = sorted(signed)
    lines = "".join(f"{name}:{signed[name].strip()}\n" for name in names)
    listed = ";".join(names)
    request = f"{method}\n{path}\n{query}\n{lines}\n{listed}\n{payload_sha256}"
    scope = f"{moment[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = _signing_key(secret_access_key, moment[:8], region)
    signature = hmac.digest(key, f"{_ALGORITHM}\n{moment}\n{scope}\n{digest}".encode(), "sha256").hex()
    credential = f"{access_key_id}/{scope}"
    signed["authorization"] = f"{_ALGORITHM} Credential={credential}, SignedHeaders={listed}, Signature={signature}"
    return signed


@lru_cache(maxsize=4)
def _signing_key(secret_access_key: str, date: str, region: str) -> bytes:
    """Derive the key of one day."""
    key = ("AWS4" + secret_access_key).encode()
    for step in (date, region, "s3", "aws4_request"):
        key = hmac.digest(key, step.encode(), "sha256")
    return key
