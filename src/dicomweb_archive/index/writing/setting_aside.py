"""Setting aside: what a study could not bring along when it was published becomes conflicts of its submission.

In the submission it would wait for ever: the archive has other bytes under its UIDs. As conflicts it is compared with
them and decided on.
"""

import asyncio
from collections.abc import Sequence

from dicomweb_archive.index.database.engine import Connection
from dicomweb_archive.index.segments.locations import FileLayout, decode_locations
from dicomweb_archive.index.writing.packs import delete_free_packs

READ_LOCATIONS = """
select sg.id, d.locations from study st join segment sg on sg.study_id = st.id
join segment_data d on d.segment_id = sg.id where st.space_id = $1 and st.study_instance_uid = $2 order by sg.id
"""

LIST_LEFT = """
select i.segment_id, i.position, i.pack_id, i.sop_instance_uid, se.series_instance_uid, i.byte_offset, i.byte_length,
  i.digest
from study st join segment sg on sg.study_id = st.id join series se on se.id = sg.series_id
join instance i on i.segment_id = sg.id where st.space_id = $1 and st.study_instance_uid = $2
order by i.segment_id, i.position
"""

INSERT_CONFLICTS = """
insert into conflict (submission_id, study_instance_uid, series_instance_uid, sop_instance_uid, sop_class_uid,
  transfer_syntax_uid, pack_id, byte_offset, byte_length, digest, received_by)
select s.id, $2, n.series, n.sop, n.class, n.syntax, n.pack, n.byte_offset, n.byte_length, n.digest, s.opened_by
from submission s, unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::int8[], $8::int8[], $9::int8[],
  $10::bytea[]) as n(series, sop, class, syntax, pack, byte_offset, byte_length, digest)
where s.id = $1
on conflict (submission_id, sop_instance_uid, digest) do nothing
"""

DELETE_STUDY = "delete from study where space_id = $1 and study_instance_uid = $2"


async def set_aside(
    connection: Connection, submission_id: int, space_id: int, study_instance_uid: str
) -> tuple[str, ...]:
    """Make conflicts of all that is left of a study; the caller holds its lock.

    Returns:
        objects that hold nothing any more, because the submission keeps the same bytes already.
    """
    study = (space_id, study_instance_uid)
    layouts: dict[int, Sequence[FileLayout]] = {}
    for segment_id, locations in await connection.fetch(READ_LOCATIONS, *study):
        layouts[segment_id] = await asyncio.to_thread(decode_locations, locations)
    left = await connection.fetch(LIST_LEFT, *study)
    files = [layouts[row["segment_id"]][row["position"]] for row in left]
    await connection.execute(
        INSERT_CONFLICTS,
        submission_id,
        study_instance_uid,
        [row["series_instance_uid"] for row in left],
        [row["sop_instance_uid"] for row in left],
        [file.sop_class_uid for file in files],
        [file.transfer_syntax_uid for file in files],
        [row["pack_id"] for row in left],
        [row["byte_offset"] for row in left],
        [row["byte_length"] for row in left],
        [row["digest"] for row in left],
    )
    await connection.execute(DELETE_STUDY, *study)
    return await delete_free_packs(connection, sorted({row["pack_id"] for row in left}))
