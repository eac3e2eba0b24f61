"""Statements kept by the form of their plan: composed once, away from the event loop, within bounds."""

import asyncio
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from dicomweb_archive.index.access import Visibility
from dicomweb_archive.index.search.planning.form import form_of
from dicomweb_archive.index.search.planning.plan import SearchPlan
from dicomweb_archive.index.search.planning.shape import Choice
from dicomweb_archive.index.search.sql.statements import Part, Statement, compose, search_values

CAPACITY: Final = 8 * 1024 * 1024
"""Characters of statements that are kept; most have between one and three thousand."""

_NAME_SIZE: Final = 100

Form: TypeAlias = tuple[SearchPlan, Choice, Visibility, Part]


@dataclass(slots=True)
class _Awaited:
    """A statement that is being composed or stands in line for it, and how many wait for it."""

    job: Future[Statement]
    composed: asyncio.Future[Statement]
    waiting: int = 0


class KeptStatements:
    """Composed statements, least recently used out first. No value of a search is kept with them.

    Composing takes from some milliseconds to a fifth of a second, in one thread, so that requests whose statements are
    here already go on; those that wait for the same statement wait for one composition.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._size = 0
        self._kept: OrderedDict[Form, Statement] = OrderedDict()
        self._awaited: dict[Form, _Awaited] = {}
        self._composer = ThreadPoolExecutor(1, thread_name_prefix="compose")

    async def find(
        self, plan: SearchPlan, choice: Choice, visibility: Visibility, part: Part
    ) -> tuple[Statement, list[Any]]:
        """Return one statement of a search, and its arguments."""
        # Equal to its form, so it finds what is kept by that.
        asked = (plan, choice, visibility.form(), part)
        statement = self._kept.get(asked)
        if statement is None:
            statement = await self._composed(asked)
        else:
            self._kept.move_to_end(asked)
        return statement, statement.arguments(search_values(plan, choice, visibility))

    async def _composed(self, asked: Form) -> Statement:
        awaited = self._awaited.get(asked)
        if awaited is None:
            form = form_of(asked)
            job = self._composer.submit(compose, *form)
            awaited = self._awaited[form] = _Awaited(job, asyncio.wrap_future(job))
            awaited.composed.add_done_callback(partial(self._keep, form))
        awaited.waiting += 1
        try:
            # Others may wait for it too, so a request that ends does not take it along.
            return await asyncio.shield(awaited.composed)
        finally:
            awaited.waiting -= 1
            # Clients that come and go must not leave a line behind that everybody else waits in.
            if not awaited.waiting and awaited.job.cancel():
                del self._awaited[asked]

    def _keep(self, form: Form, composed: "asyncio.Future[Statement]") -> None:
        awaited = self._awaited.get(form)
        if awaited is not None and awaited.composed is composed:
            del self._awaited[form]
        if composed.cancelled() or composed.exception() is not None:
            return
        statement = composed.result()
        self._kept[form] = statement
        self._size += _size(statement)
        while self._size > self._capacity:
            self._size -= _size(self._kept.popitem(last=False)[1])


def _size(statement: Statement) -> int:
    return len(statement.text) + _NAME_SIZE * len(statement.names)
