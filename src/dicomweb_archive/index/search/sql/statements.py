"""Search statements: a plan and its shape become SQL text with numbered parameters. Nothing is executed here.

Statements are composed with SQLAlchemy Core, which costs some milliseconds, more than running one; so
`search/kept_statements` keeps them. Values are never part of the text, and every statement carries the caller's
visibility.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect

from dicomweb_archive.dicom.query import Counting, Level
from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.search.planning.plan import SearchPlan, Stretch
from dicomweb_archive.index.search.planning.shape import Choice
from dicomweb_archive.index.search.sql.columns import column_parameters
from dicomweb_archive.index.search.sql.filter_segments import plan_parameters
from dicomweb_archive.index.search.sql.instance_level import InstanceWriter
from dicomweb_archive.index.search.sql.keyset import order_parameters
from dicomweb_archive.index.search.sql.levels import DETAILS, LevelWriter, SeriesWriter, StudyWriter
from dicomweb_archive.index.search.sql.positions import position_parameters
from dicomweb_archive.index.search.sql.segments import Query, segment_parameters
from dicomweb_archive.index.search.sql.sql_types import LONGS

WRITERS: Mapping[Level, type[LevelWriter]] = {
    Level.STUDY: StudyWriter,
    Level.SERIES: SeriesWriter,
    Level.INSTANCE: InstanceWriter,
}

_NO_CAP = 2**60

# Not named by the dialect's stubs as callable with arguments; it has none that we need.
_DIALECT = asyncpg_dialect()  # type: ignore[no-untyped-call]


class Part(StrEnum):
    """What a statement returns."""

    PAGE = "page"
    """The rows of one page."""
    COUNTED = "counted"
    """The same, each with `total`, the number of all that match, and `revision`: of studies and series."""
    IDS = "ids"
    """Only their ids: for pages too large to be held whole."""
    COUNT = "count"
    """How many match, up to a cap."""
    ALL = "all"
    """The ids of everything that matches in no order; of instances `segment_id` and `position`, or `segment_id` and
    `instance_count` where whole segments match."""
    MILESTONES = "milestones"
    """`id` of every so many series, how many instances are `before` it, whether there may be more behind it that are
    left out (`end`), and the `revision` that this is true of."""
    WINDOW = "window"
    """How many candidates an order driven search had, up to one more than its window."""


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL text with `$1`, `$2`..., the names of its parameters in that order, and the names of its columns."""

    text: str
    names: tuple[str, ...]
    columns: tuple[str, ...]

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """Put the values into the order of the parameters."""
        return [values[name] for name in self.names]

    def value_of(self, name: str, arguments: Sequence[Any]) -> Any:
        """Return one of the arguments by the name of its parameter."""
        return arguments[self.names.index(name)]


def compose(plan: SearchPlan, choice: Choice, visibility: Visibility, part: Part) -> Statement:
    """Compose one statement of a search; its text depends on the shape of what is given, not on any value.

    Pages of studies and series have the columns of `details_statement`, pages of instances `segment_id` and
    `position`; all have the sort values `k0`, `k1`... of the plan's order.
    """
    writer = WRITERS[plan.level](plan, choice, visibility)
    match part:
        case Part.PAGE:
            return compile_statement(writer.page())
        case Part.COUNTED:
            return compile_statement(writer.page(counted=True))
        case Part.IDS:
            return compile_statement(writer.ids(paged=True))
        case Part.ALL:
            return compile_statement(writer.ids(paged=False))
        case Part.MILESTONES:
            return compile_statement(writer.milestones())
        case Part.COUNT:
            return compile_statement(writer.count())
        case Part.WINDOW:
            return compile_statement(select(func.count()).select_from(writer.window(choice.window + 1)))


def search_values(plan: SearchPlan, choice: Choice, visibility: Visibility) -> dict[str, Any]:
    """Return the values that the statements of a search refer to, by the names of their parameters."""
    return {
        **column_parameters(plan),
        **segment_parameters(plan, choice),
        **position_parameters(plan),
        **plan_parameters(plan),
        **order_parameters(plan),
        **visibility.named_parameters(),
        "sop_instance_spaces": list(visibility.spaces),
        **_stretch(plan),
        "page": plan.limit + 1,
        "offset": plan.offset,
        "end": plan.offset + plan.limit + 1,
        "counted": _NO_CAP if plan.counting is Counting.EXACT else plan.offset + plan.limit + plan.count_cap + 1,
    }


def _stretch(plan: SearchPlan) -> dict[str, int]:
    known = plan.stretch or Stretch(0, 0, 0)
    return {"first_series": known.first, "end_series": known.end, "passed": known.passed}


def details_statement(level: Level, ids: Sequence[int]) -> tuple[str, list[Any]]:
    """Compose the statement that reads the rows of studies or series in the order of their ids."""
    statement = _compile_details(level)
    return statement.text, statement.arguments({"ids": list(ids)})


@lru_cache(maxsize=4)
def _compile_details(level: Level) -> Statement:
    ids = func.unnest(bindparam("ids", type_=LONGS))
    page = ids.table_valued("id", with_ordinality="place").render_derived(name="page")
    return compile_statement(DETAILS[level](page, [page.c.place]))


def compile_statement(query: Query) -> Statement:
    """Render a composed query for asyncpg."""
    compiled = query.compile(dialect=_DIALECT)
    return Statement(str(compiled), tuple(compiled.positiontup or ()), tuple(query.selected_columns.keys()))
