"""Attribute path: an attribute of a data set, at its top or inside sequences, as searches, rules and checks name it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PathStep:
    """One step of an attribute path: a tag, with its creator when private.

    For a private element `tag` has its block number removed (`0x00290010` is written ggggxxee as `0x00290010`
    with creator): group and last byte count, the creator tells the block apart (PS3.5 7.8.1).
    """

    tag: int
    private_creator: str | None = None

    def __str__(self) -> str:
        if self.private_creator is None:
            return f"{self.tag:08X}"
        return f'{self.tag >> 16:04X}"{self.private_creator}"{self.tag & 0xFF:02X}'


@dataclass(frozen=True, slots=True)
class AttributePath:
    """An attribute, possibly inside sequences; `str()` is the path's name in the index (`00400275.00400009`)."""

    steps: tuple[PathStep, ...]
    vr: str

    @property
    def tag(self) -> int:
        """The tag of the last step."""
        return self.steps[-1].tag

    def __str__(self) -> str:
        return ".".join(map(str, self.steps))
