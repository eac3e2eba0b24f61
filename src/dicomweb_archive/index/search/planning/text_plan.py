"""Free text in a plan: where a word or phrase may stand, as the dictionary tells. Pure; nothing here knows SQL."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Place:
    """An attribute with a text that has the word, or may have it where it is kept as a zone.

    Attributes:
        step: first step of the path, by which segments keep its values; `mark` is its hash in `segment.varying`.
        way: JSON path from the step's values to those of the path.
    """

    path_id: int
    step: str
    mark: int
    way: str


@dataclass(frozen=True, slots=True)
class SoughtPhrase:
    """A word or phrase, and what the dictionary knows of it.

    As with `plan`, two are equal when their statements have the same text; values are not compared.

    Attributes:
        pattern: the regular expression that finds it in a folded text.
        listed: the terms that have it are few enough for a statement to carry them, `few` enough for one condition.
        zoned: some segments keep texts as zones, which do not tell their words.
        hashes: the terms, with `term_places` the number of each one's place; none unless `listed`.
        places: the attributes of the terms, then those of zones, from number `first_zone` on.
        terms, segments: how many terms there are, as far as counted, and an estimate of the segments to look at.
    """

    pattern: str = field(compare=False)
    listed: bool = True
    few: bool = False
    zoned: bool = False
    hashes: tuple[int, ...] = field(default=(), compare=False)
    term_places: tuple[int, ...] = field(default=(), compare=False)
    places: tuple[Place, ...] = field(default=(), compare=False)
    first_zone: int = field(default=0, compare=False)
    terms: int = field(default=0, compare=False)
    segments: int = field(default=0, compare=False)

    @property
    def nothing(self) -> bool:
        """Whether no segment can have it."""
        return not self.places

    @property
    def told_by_terms(self) -> bool:
        """Whether a condition on a segment's terms proves that one of its instances has it."""
        return self.few and not self.zoned
