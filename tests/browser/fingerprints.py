"""Pictures that are told apart at a glance: blocks of levels that follow from a name, over a slope.

A head looks much like the next slice of it, even mirrored. These do not: a picture that is shifted, mirrored,
turned, of another name or of another frame correlates with none of the others.
"""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS, BLOCK_COLUMNS = 6, 8
ROWS, COLUMNS = 96, 128

Levels = NDArray[Any]


def levels(name: str) -> Levels:
    """Return the blocks of a name, 0 to 255; the same on every machine, hence no random numbers."""
    digest = hashlib.blake2b(name.encode(), digest_size=BLOCK_ROWS * BLOCK_COLUMNS).digest()
    return np.frombuffer(digest, np.uint8).reshape(BLOCK_ROWS, BLOCK_COLUMNS)


def grey(name: str, rows: int = ROWS, columns: int = COLUMNS) -> Levels:
    """Return a picture of 12 bits in 16; both sizes are multiples of the blocks."""
    y, x = np.indices((rows, columns))
    slope = 446 * (x + y) // (rows + columns)
    return (_enlarged(levels(name), rows, columns).astype(np.uint16) * 14 + slope).astype(np.uint16)


def colour(name: str, rows: int = ROWS, columns: int = COLUMNS) -> Levels:
    """Return an RGB picture of 8 bits whose three channels differ."""
    channels = (_enlarged(levels(f"{name} {channel}"), rows, columns) for channel in ("red", "green", "blue"))
    return np.stack(list(channels), axis=-1)


def _enlarged(blocks: Levels, rows: int, columns: int) -> Levels:
    return np.kron(blocks, np.ones((rows // BLOCK_ROWS, columns // BLOCK_COLUMNS), blocks.dtype))
