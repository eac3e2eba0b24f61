"""Visible paths: which attributes occur in what may be seen, where the dictionary knows those of the whole archive."""

from collections.abc import Iterable

from dicomweb_archive.index.access import Visibility, visible
from dicomweb_archive.index.database.engine import Connection

# Of segments that have not been looked through yet (`upkeep/held_paths`) so many values of an attribute are looked for.
_MOST_TERMS = 5000

# Tells which paths some visible segment has, by the sets of paths that are known, and by the terms of what came since.
FIND_VISIBLE = f"""
select p.id from unnest($4::int4[]) p(id)
where exists (
    select from segment_paths h join study st on st.id = h.study_id
    where {visible("st")}
      and h.path_set = any(array(select s.hash from path_set s where s.path_ids && array[p.id, -p.id])))
  or exists (
    select from segment sg join study st on st.id = sg.study_id
    where {visible("st")} and not exists (select from segment_paths known where known.segment_id = sg.id)
      and (sg.terms && array(select t.hash from term t where t.path_id = p.id limit {_MOST_TERMS})
        or exists (select from zone z where z.segment_id = sg.id and z.path_id = p.id)))
"""  # noqa: S608 - composed of constants


async def visible_paths(connection: Connection, path_ids: Iterable[int], visibility: Visibility) -> frozenset[int]:
    """Return those of the paths that occur in what may be seen.

    The VR of a private attribute is known from what is stored. Of one that only occurs in what is hidden not even
    that may be told: not by an answer, nor by refusing what does not fit it.
    """
    asked = list(path_ids)
    if not asked:
        return frozenset()
    rows = await connection.fetch(FIND_VISIBLE, *visibility.parameters(), asked)
    return frozenset(row["id"] for row in rows)
