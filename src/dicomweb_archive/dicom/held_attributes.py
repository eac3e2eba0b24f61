"""Attributes that an archive holds: the name of a path in the index, told in the words of a search."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from dicomweb_archive.dicom.attribute_path import PathStep
from dicomweb_archive.dicom.tags import keyword_of, name_of

# A creator may hold dots and quotation marks; what stands behind it tells where it ends.
_STEP = re.compile(r'(?:([0-9A-F]{8})|([0-9A-F]{4})"(.*?)"([0-9A-F]{2}))(?:\.(?=[0-9A-F]{4})|$)', re.DOTALL)
_FIRST_BLOCK = 0x10


@dataclass(frozen=True, slots=True)
class HeldAttribute:
    """An attribute as a search writes it.

    Attributes:
        path: tags joined by dots; private ones lie in blocks from 10 on.
        creators: what a search has to say with it: the creator of each private block, by the block's tag.
        keyword: keywords joined by dots, `None` where a step has none.
    """

    path: str
    keyword: str | None
    name: str | None
    private_creator: str | None
    creators: Mapping[str, str] = field(default_factory=dict)

    def contains(self, text: str) -> bool:
        """Tell whether the text occurs in the path, a keyword, the name or a creator, whatever its case."""
        told = (self.path, self.keyword, self.name, *self.creators.values())
        return any(text.lower() in each.lower() for each in told if each)

    def starts_with(self, prefix: str) -> bool:
        """Tell whether the path, of tags or of keywords, begins with this, whatever its case."""
        return any(each.lower().startswith(prefix.lower()) for each in (self.path, self.keyword) if each)


@lru_cache(maxsize=16_384)
def held_attribute(name: str) -> HeldAttribute:
    """Tell the name of a path in the index (`str()` of an `AttributePath`) in the words of a search."""
    steps = list(path_steps(name))
    creators: dict[str, str] = {}
    path = ".".join(_written(step, creators) for step in steps)
    keywords = [None if step.private_creator else keyword_of(step.tag) for step in steps]
    last = steps[-1]
    return HeldAttribute(
        path=path,
        keyword=".".join(word or "" for word in keywords) if all(keywords) else None,
        name=None if last.private_creator else name_of(last.tag),
        private_creator=last.private_creator,
        creators=creators,
    )


def path_steps(name: str) -> Iterator[PathStep]:
    """Read the steps of a path from its name in the index."""
    for plain, group, creator, element in _STEP.findall(name):
        if plain:
            yield PathStep(int(plain, 16))
        else:
            yield PathStep(int(group, 16) << 16 | int(element, 16), creator)


def _written(step: PathStep, creators: dict[str, str]) -> str:
    """Write a step; a private one in the first block of its group that is free or its creator's already."""
    if step.private_creator is None:
        return f"{step.tag:08X}"
    group = step.tag >> 16
    for block in range(_FIRST_BLOCK, 0x100):
        reserving = f"{group:04X}{block:04X}"
        if creators.setdefault(reserving, step.private_creator) == step.private_creator:
            return f"{group:04X}{block:02X}{step.tag & 0xFF:02X}"
    return str(step)
