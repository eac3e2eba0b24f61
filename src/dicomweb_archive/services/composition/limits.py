"""Bounds of what waits for the rest of its instance."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CompositionLimits:
    """Bounds of requests with metadata.

    Attributes:
        instances: most instances of one request.
        held_bytes: what one request holds in memory to know what it waits for: names and numbers, no data.
        all_held_bytes: the same, of all requests of the process; then they are told to come again later.
        memory_bytes: metadata and bulk data of one request in memory, each; what is more waits in a file.
        all_memory_bytes: the same, of all requests of the process.
        repeated_bytes: bytes that a request makes beyond those that it brings, by naming a part more than once or by
            sending pictures that are compressed unusually well.
        shared_parts: how often instances of a request may name a part that another one has already; a profile of
            colours is named by each, a frame by one.
        watermark_bytes: room that stays free on the disk.
    """

    instances: int = 20_000
    held_bytes: int = 48 * 1024 * 1024
    all_held_bytes: int = 192 * 1024 * 1024
    memory_bytes: int = 16 * 1024 * 1024
    all_memory_bytes: int = 256 * 1024 * 1024
    repeated_bytes: int = 256 * 1024 * 1024
    shared_parts: int = 250_000
    watermark_bytes: int = 0
