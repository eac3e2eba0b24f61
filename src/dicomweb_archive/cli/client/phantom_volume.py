"""The demo phantom's geometry: a head of nested ellipsoids with a lesion, after Shepp and Logan."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Volume: TypeAlias = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Tissue:
    """One ellipsoid: centre and half axes in shares of the half field of view; later ones cover earlier ones.

    Attributes:
        hounsfield: its CT number.
        signal: its brightness in the MR series.
        turned_degrees: rotation in the axial plane.
    """

    name: str
    centre: tuple[float, float, float]
    axes: tuple[float, float, float]
    hounsfield: int
    signal: int
    turned_degrees: float = 0.0


LESION = Tissue("Lesion", (0.22, -0.30, 0.10), (0.13, 0.11, 0.22), 62, 980)
VENTRICLES = (
    Tissue("Ventricle", (-0.17, 0.02, 0.05), (0.09, 0.26, 0.35), 8, 180, 18.0),
    Tissue("Ventricle", (0.17, 0.02, 0.05), (0.09, 0.26, 0.35), 8, 180, -18.0),
)
HEAD = (
    Tissue("Scalp", (0.0, 0.0, 0.0), (0.72, 0.92, 0.95), 45, 700),
    Tissue("Skull", (0.0, 0.0, 0.0), (0.69, 0.89, 0.92), 1100, 60),
    Tissue("Liquor", (0.0, 0.0, 0.0), (0.64, 0.84, 0.87), 10, 200),
    Tissue("Brain", (0.0, 0.0, 0.0), (0.61, 0.80, 0.83), 36, 620),
    *VENTRICLES,
    LESION,
)
# The scan ends within the head on both sides: a viewer opens the first slice, and air would look like a failure.
_SCANNED = 0.8
AIR_HOUNSFIELD = -1000
AIR_SIGNAL = 0


def paint(shape: tuple[int, int, int], quantity: str, background: int) -> Volume:
    """Fill a volume (slices, rows, columns) with one quantity of the tissues, `hounsfield` or `signal`."""
    volume = np.full(shape, background, dtype=np.float32)
    for tissue in HEAD:
        volume[inside(shape, (tissue,))] = getattr(tissue, quantity)
    return volume


def inside(shape: tuple[int, int, int], tissues: tuple[Tissue, ...]) -> NDArray[np.bool_]:
    """Mark the voxels that lie in any of some tissues' ellipsoids."""
    slices, rows, columns = (
        np.linspace(-reach, reach, count, dtype=np.float32)
        for count, reach in zip(shape, (_SCANNED, 1.0, 1.0), strict=True)
    )
    z, y, x = np.meshgrid(slices, rows, columns, indexing="ij", sparse=True)
    marked = np.zeros(shape, dtype=np.bool_)
    for tissue in tissues:
        angle = np.deg2rad(tissue.turned_degrees)
        dx, dy, dz = x - tissue.centre[0], y - tissue.centre[1], z - tissue.centre[2]
        along = dx * np.cos(angle) + dy * np.sin(angle)
        across = dy * np.cos(angle) - dx * np.sin(angle)
        radius = (along / tissue.axes[0]) ** 2 + (across / tissue.axes[1]) ** 2 + (dz / tissue.axes[2]) ** 2
        marked |= radius <= 1
    return marked


def with_noise(volume: Volume, deviation: float, seed: int) -> Volume:
    """Add Gaussian noise, the same for the same seed."""
    noise = np.random.default_rng(seed).normal(0.0, deviation, volume.shape)
    return volume + noise.astype(np.float32)
