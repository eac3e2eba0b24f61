"""Searching page by page, and the forms of output."""

import csv
import io
import json

import pytest
from tests.http.client.fake_server import ROOT, SERIES, STUDY, FakeServer, Fault, impatient, server, status

from dicomweb_archive.cli.client.connection import UnexpectedAnswerError
from dicomweb_archive.cli.client.formats import columns_of, text_of, write_csv, write_json, write_table
from dicomweb_archive.cli.client.searching import Search, SearchLevel, iter_matches, uid_of
from dicomweb_archive.cli.client.tables import write_table_of_server

INSTANCES = Search(SearchLevel.INSTANCES, (("StudyInstanceUID", STUDY), ("SeriesInstanceUID", SERIES)))


@pytest.fixture
def fake() -> FakeServer:
    return FakeServer(kept={f"1.9.{number}": b"" for number in range(250)}, page=100)


async def _found(fake: FakeServer, *faults: Fault, limit: int | None = None) -> list[str]:
    target = server(fake, *faults)
    async with target.client(1) as client:
        rows = iter_matches(client, target, INSTANCES, limit=limit, retry=impatient())
        return [uid_of(row, "00080018") async for row in rows]


async def test_all_pages_are_asked_for_even_when_the_server_caps_them(fake: FakeServer) -> None:
    assert await _found(fake) == list(fake.kept)
    assert len(fake.requests) == 3


async def test_a_limit_ends_in_the_middle_of_a_page(fake: FakeServer) -> None:
    assert await _found(fake, limit=113) == list(fake.kept)[:113]
    assert fake.requests[-1].endswith("limit=13&offset=100")


@pytest.mark.parametrize("limit", [None, 113])
async def test_the_next_page_that_a_server_names_is_asked_of_that_server(fake: FakeServer, limit: int | None) -> None:
    fake.links = True
    assert await _found(fake, limit=limit) == list(fake.kept)[:limit]
    assert [request.partition("?")[2] for request in fake.requests[1:]] == [
        f"limit=100&page_token={end}" for end in ((100, 200) if limit is None else (100,))
    ]
    assert all("/series/" in request for request in fake.requests)


async def test_a_server_that_ignores_offset_does_not_hold_us_for_ever(fake: FakeServer) -> None:
    fake.offsets = False
    assert await _found(fake) == list(fake.kept)[:100]


async def test_no_match_is_an_empty_list() -> None:
    assert await _found(FakeServer()) == []


async def test_a_busy_server_is_asked_again(fake: FakeServer) -> None:
    assert len(await _found(fake, status(503))) == 250


async def test_a_refused_search_says_why(fake: FakeServer) -> None:
    with pytest.raises(UnexpectedAnswerError, match="400"):
        await _found(fake, status(400))


def test_uids_of_the_levels_above_become_the_path() -> None:
    assert INSTANCES.url(ROOT, limit=5, offset=0) == (
        f"{ROOT}/studies/{STUDY}/series/{SERIES}/instances?limit=5&offset=0"
    )


def test_several_uids_stay_a_parameter() -> None:
    search = Search(SearchLevel.SERIES, (("StudyInstanceUID", "1.2,1.3"),))
    assert search.url(ROOT, limit=1, offset=2) == f"{ROOT}/series?StudyInstanceUID=1.2%2C1.3&limit=1&offset=2"


def test_values_are_percent_encoded_for_this_standard() -> None:
    search = Search(
        SearchLevel.STUDIES,
        (("PatientName", "Müller^A B+*"),),
        ("00081030",),
        fuzzy=True,
        order="-StudyDate",
        text="chest ct",
    )
    assert search.url(ROOT, limit=1, offset=0) == (
        f"{ROOT}/studies?PatientName=M%C3%BCller%5EA%20B%2B*&includefield=00081030&fuzzymatching=true&text=chest%20ct&orderby=-StudyDate&limit=1&offset=0"
    )


ROW = {
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^\x1b[31mJane", "Ideographic": "x"}]},
    "00080061": {"vr": "CS", "Value": ["CT", None, "SEG"]},
    "00081140": {"vr": "SQ", "Value": [{}]},
    "00080050": {"vr": "SH"},
    "00201208": {"vr": "IS", "Value": [41]},
}


@pytest.mark.parametrize(
    ("tag", "text"),
    [(0x00080061, "CT\\\\SEG"), (0x00080050, ""), (0x00201208, "41"), (0x00081140, "…"), (0x0020000D, "")],
)
def test_attributes_are_shown_on_a_line(tag: int, text: str) -> None:
    assert text_of(ROW, tag) == text


def test_included_attributes_get_columns() -> None:
    names = [name for name, _ in columns_of(SearchLevel.STUDIES, ["PatientSex", "00080050", "all", "A.B"])]
    assert names[-1] == "PatientSex"
    assert names.count("AccessionNumber") == 1


async def _rows(count: int):  # type: ignore[no-untyped-def]
    for _ in range(count):
        yield ROW


async def test_json_is_one_array(capsys: pytest.CaptureFixture[str]) -> None:
    for count in (0, 1, 3):
        assert await write_json(_rows(count)) == count
        assert json.loads(capsys.readouterr().out) == [ROW] * count


async def test_csv_has_a_heading(capsys: pytest.CaptureFixture[str]) -> None:
    await write_csv(_rows(2), columns_of(SearchLevel.STUDIES, []))
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["ModalitiesInStudy"] for row in rows] == ["CT\\\\SEG"] * 2


async def test_a_table_lets_no_control_character_through(capsys: pytest.CaptureFixture[str]) -> None:
    await write_table(_rows(1), columns_of(SearchLevel.STUDIES, []))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "Jane" in out


async def test_a_server_without_tables_is_told_apart_and_nothing_is_written(fake: FakeServer) -> None:
    target = server(fake)
    written: list[bytes] = []
    async with target.client(1) as client:
        for form in ("csv", "parquet"):
            told = await write_table_of_server(
                client, target, INSTANCES, form, written.append, limit=None, retry=impatient()
            )
            assert told is None
    assert written == []
