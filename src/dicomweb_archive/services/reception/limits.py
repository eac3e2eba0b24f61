"""Bounds of one store request."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """Bounds of a store request, see `settings.py`.

    Attributes:
        request_seconds: a request that took longer is refused at its end: objects without a row may be swept
            when they are twice as old (`services/maintenance.py`).
        attribute_bytes: JSON of attributes that one request may bring, since all of it is registered together:
            some thousand series, or some dozen structure sets. Parts beyond it are refused.
        convoys_at_once: see `convoys.py`.
    """

    hold_bytes: int
    pack_bytes: int
    pack_instances: int
    free_space_watermark_bytes: int
    request_seconds: float = 12 * 3600.0
    attribute_bytes: int = 64 * 1024 * 1024
    convoys_at_once: int = 1
