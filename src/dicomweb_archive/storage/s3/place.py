"""S3Place: which bucket of which service holds the objects, and with which key it is asked."""

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


@dataclass(frozen=True, slots=True)
class S3Place:
    """Where objects lie. Both halves of the key stay out of every repr.

    Attributes:
        endpoint_url: the service, e.g. https://s3.example.org, without a trailing slash.
        prefix: begins every key; empty, or ending in a slash.
        addressing: `path` asks https://service/bucket/key, `virtual` asks https://bucket.service/key.
        connections: most connections to the service of one process, each for single reads and writes, for long
            streams, and for control calls.
        timeout_seconds: longest silence of the service.
    """

    endpoint_url: str
    region: str
    bucket: str
    prefix: str
    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    addressing: Literal["path", "virtual"] = "path"
    connections: int = 32
    timeout_seconds: float = 20.0

    @property
    def origin(self) -> tuple[str, str]:
        """Scheme and host that objects are asked from; the port is left out where it is the scheme's own."""
        parts = urlsplit(self.endpoint_url)
        host = parts.netloc.removesuffix(_DEFAULT_PORTS[parts.scheme])
        return parts.scheme, host if self.addressing == "path" else f"{self.bucket}.{host}"

    def path_of(self, key: str) -> str:
        """Return the path of an object, or of the bucket for an empty key."""
        base = urlsplit(self.endpoint_url).path.rstrip("/")
        bucket = f"/{self.bucket}" if self.addressing == "path" else ""
        return f"{base}{bucket}/{self.prefix}{key}" if key else f"{base}{bucket}" or "/"
