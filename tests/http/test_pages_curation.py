"""Pages of submissions: the queue, what one holds, what is decided with forms, and who sees none of it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from tests.factories import ROOT, ct_series, image, part10
from tests.http.archive import RELATED, Archive, related
from tests.http.conftest import StartArchive
from tests.http.html import Node, barriers, parse
from tests.http.test_pages_home import BROWSER
from tests.submitted import lay_into

from dicomweb_archive.index.curation.submissions import SubmissionScope
from dicomweb_archive.services.access import Principal, PrincipalKind, Role, with_included
from dicomweb_archive.services.submissions.publishing_job import PUBLISH_SUBMISSION

OWN_PAGE = {**BROWSER, "sec-fetch-site": "same-origin"}


@pytest.fixture
async def archive(start_archive: StartArchive) -> AsyncIterator[Archive]:
    """An archive in which nothing happens by itself: what is asked for waits."""
    async with start_archive(job_slots=0) as archive:
        yield archive


async def opened(archive: Archive, *files: bytes, **said: str) -> str:
    """Open a submission, fill it, and return the path of its page."""
    name = (await archive.client.post("/submissions", json=said)).json()["name"]
    found = await archive.app.state.services.submissions.submissions.find(name, SubmissionScope(None))
    if files:
        await lay_into(archive, found.space_id, files)
    return f"/submissions/{name}"


async def page_of(archive: Archive, path: str, *, key: str | None = None, **asked: object) -> Node:
    """Get a page, on which nobody meets a barrier."""
    headers = BROWSER if key is None else {**BROWSER, "authorization": f"Bearer {key}"}
    answer = await archive.client.get(path, params=asked or None, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    page = parse(answer.text)
    assert barriers(page) == []
    return page


async def send(archive: Archive, path: str, fields: Mapping[str, Any], **headers: str) -> httpx.Response:
    return await archive.client.post(path, data=fields, headers={**OWN_PAGE, **headers})


def choices(page: Node) -> list[str]:
    return [each.attributes["value"] for each in page.find("input", name="action")]


async def test_a_submission_shows_what_it_holds_and_what_is_said_of_it(archive: Archive) -> None:
    many = part10(image(study=4, series=2, instance=1, NumberOfFrames=30, SeriesDescription="<i>cine</i>"))
    report = part10(image(study=4, series=3, instance=1, Modality="SR"))
    path = await opened(archive, *ct_series(3, study=4), many, report, title="Trial <7>", site="Graz", contact="Ann")
    root = f"{path}/dicom-web/studies/{ROOT}.4/series/{ROOT}.4"
    page = await page_of(archive, path)
    assert page.one("h1").text == "Trial <7>"
    assert "1 study, 3 series, 5 instances" in page.one(id="facts").text
    first, cine, document = page.one(id="series").find("li", class_="panel")
    assert first.one("img").attributes["src"] == f"{root}.1/thumbnail"
    assert "<i>cine</i>" in cine.text
    assert document.find("img") == []
    assert "Doe, Jane" in page.one(id="study-1").text
    assert choices(page) == ["reject", "seal", "withdraw"]

    sheet = await page_of(archive, f"{path}/studies/{ROOT}.4/series/{ROOT}.4.1")
    assert [each.attributes["src"] for each in sheet.one(id="sheet").find("img")] == [
        f"{root}.1/instances/{ROOT}.4.1.{number}/thumbnail" for number in (1, 2, 3)
    ]
    frames = (await page_of(archive, f"{path}/studies/{ROOT}.4/series/{ROOT}.4.2")).one(id="sheet").find("a")
    assert len(frames) == 12
    assert frames[-1].attributes["href"] == f"{root}.2/instances/{ROOT}.4.2.1/frames/30/rendered"
    assert "no pictures" in (await page_of(archive, f"{path}/studies/{ROOT}.4/series/{ROOT}.4.3")).one("main").text

    inventory = await page_of(archive, f"{path}/inventory", q="seriesdesc")
    (line,) = inventory.one(id="inventory").one("tbody").find("tr")
    assert "Axial 5 mm 4 · <i>cine</i> 1" in line.text
    values = await page_of(archive, line.one("a", data_item="").attributes["href"])
    assert [row.one("th").text for row in values.one(id="values").one("tbody").find("tr")] == [
        "Axial 5 mm",
        "<i>cine</i>",
    ]
    trail = (await page_of(archive, f"{path}/events")).one(id="trail")
    assert [each.one("b").text for each in trail.find("li")][-1] == "Opened"
    for below in ("", "/findings", "/inventory", "/events", "/conflicts"):
        assert (await archive.client.get(path + below)).headers["content-type"] == "application/json"
        wrong = await archive.client.get(f"{path}{below}?nosuch=1", headers=BROWSER)
        assert wrong.status_code == 400
        assert barriers(parse(wrong.text)) == []


async def test_decisions_are_made_with_forms_and_refused_without_losing_what_was_typed(archive: Archive) -> None:
    files = [part10(image(study=5, instance=number, SeriesDescription="for Doe")) for number in (1, 2)]
    path = await opened(archive, *files, title="Decided")
    decide = f"{path}/decide"
    sealed = await send(archive, decide, {"action": "seal", "revision": "1", "comment": "complete"})
    assert (sealed.status_code, sealed.headers["location"]) == (303, f"{path}?done=seal")
    page = await page_of(archive, path, done="seal")
    assert page.one(id="said").text == "It is sealed."
    assert choices(page) == ["reject", "review", "reopen", "withdraw"]
    assert "Running checks: waiting" in page.one(id="progress").text

    for fields, status, said in (
        ({"action": "reject", "revision": "2"}, 400, "A reason is needed to reject."),
        ({"action": "review", "revision": "1"}, 412, "has changed since it was read"),
        ({"action": "approve", "revision": "2"}, 409, "approve"),
        ({"action": "reject", "revision": "2", "reason": "nosuch"}, 400, "quality"),
        ({"action": "nosuch", "revision": "2"}, 400, "Nothing was chosen"),
        ({"action": "publish", "revision": "2"}, 409, "sealed"),
        ({"action": "publish", "revision": "2", "reason": "quality"}, 400, "No reason is kept to publish"),
    ):
        refused = await send(archive, decide, {**fields, "comment": "I have typed this"})
        assert refused.status_code == status, fields
        page = parse(refused.text)
        assert barriers(page) == []
        assert said in page.one(id="problem").text
        assert page.one(id="why").text == "I have typed this"
    assert (await send(archive, decide, {"action": "review", "revision": "2"})).status_code == 303
    assert (await send(archive, f"{path}/comment", {"comment": "two\r\nlines"})).status_code == 303
    assert (await send(archive, f"{path}/comment", {"comment": " "})).status_code == 400
    assert (await send(archive, f"{path}/check", {"check_set": "public_release"})).status_code == 303
    assert (await send(archive, f"{path}/check", {"check_set": "nosuch"})).status_code == 400
    page = await page_of(archive, path)
    assert "two lines" in page.one("ol", class_="trail").text
    assert page.one(id="progress").text.count("Running checks: waiting") == 2

    assert (await send(archive, decide, {"action": "approve", "revision": "3"})).status_code == 303
    page = await page_of(archive, path)
    assert choices(page) == ["publish", "reject", "reconsider", "withdraw"]
    assert page.one(id="foreseen").text == f"2 of 2 instances published {ROOT}.5"
    published = await send(archive, decide, {"action": "publish", "revision": "4", "comment": "at last"})
    assert published.headers["location"] == f"{path}?done=publish"
    page = await page_of(archive, path)
    assert "Publishing: waiting" in page.one(id="progress").text
    assert "at last" in page.one("ol", class_="trail").text
    # Who had to sign in comes back by the address of the form.
    assert (await archive.client.get(decide, headers=BROWSER)).headers["location"] == path


async def test_findings_are_waived_many_at_once(start_archive: StartArchive) -> None:
    async with start_archive(job_slots=1) as archive:
        files = [part10(image(study=6, series=each, SeriesDescription="for Doe")) for each in (1, 2)]
        path = await opened(archive, *files, title="Waived")
        checked = await archive.client.post(f"{path}/checks", json={"check_set": "public_release"})
        while (await archive.client.get(checked.json()["url"])).json()["state"] != "succeeded":  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        asked = {"severity": "block", "check": "identity_in_header"}
        page = await page_of(archive, f"{path}/findings", **asked)
        ticked = [each.attributes["value"] for each in page.find("input", name="finding")]
        assert len(ticked) == 2
        assert page.one(id="findings-status").text == "2 findings"
        assert "SeriesDescription" in page.one(id="findings").text
        series = await page_of(archive, f"{path}/findings", series=f"{ROOT}.6.2", **asked)
        assert series.one(id="findings-status").text == "1 finding of one series"
        (line,) = (await page_of(archive, f"{path}/inventory", q="SeriesDescription")).find("a", class_="warn")
        assert line.text == "finding"
        queue = await page_of(archive, "/submissions", stage="all", text="waived")
        assert "2 block" in queue.one(id="queue").text

        (form,) = page.find(
            "form", method="post", action=f"{path}/waive?severity=block&check=identity_in_header&waived=no"
        )
        waive = form.attributes["action"]
        fields = {"finding": ticked, "deed": "waive", "reason": ""}
        refused = await send(archive, waive, fields)
        assert refused.status_code == 400
        page = parse(refused.text)
        assert barriers(page) == []
        assert page.one(id="problem").text == "Say why they do not count."
        assert [each.attributes["value"] for each in page.find("input", name="finding", checked="")] == ticked
        assert page.one(id="findings-status").text == "2 findings", "what was shown is shown again"
        assert (await send(archive, waive, {"reason": "none chosen"})).status_code == 400
        assert (await send(archive, f"{path}/waive?severity=x", fields)).status_code == 400
        waived = await send(archive, waive, {**fields, "reason": "a phantom"})
        assert waived.status_code == 303
        page = await page_of(archive, waived.headers["location"])
        assert page.one(id="findings-status").text == "0 findings; 2 changed"
        again = await send(archive, waive, {**fields, "reason": "again"})
        assert "changed=0&left=2" in again.headers["location"]
        waived_ones = await page_of(archive, f"{path}/findings", waived="yes")
        assert waived_ones.one(id="findings").text.count("a phantom") == 2
        revoked = await send(archive, f"{path}/waive", {"finding": ticked[:1], "deed": "revoke"})
        assert revoked.status_code == 303
        assert (await page_of(archive, f"{path}/findings", **asked)).one(id="findings-status").text == "1 finding"


async def test_the_queue_is_shown_by_stage_filtered_and_sorted(archive: Archive) -> None:
    paths = [await opened(archive, title=title, site=site) for title, site in (("b", "Graz"), ("A", "Bern"), ("c", ""))]
    for action in ("seal", "review"):
        await archive.client.post(f"{paths[0]}/{action}", headers={"if-match": "*"})

    async def listed(**asked: str) -> list[str]:
        page = await page_of(archive, "/submissions", **asked)
        return [each.attributes["href"] for each in page.find("a", data_item="")]

    assert await listed() == paths[:1]
    assert await listed(stage="sender", orderby="title") == [paths[1], paths[2]]
    assert await listed(stage="all", site="Bern") == paths[1:2]
    assert await listed(stage="over") == []
    page = await page_of(archive, "/submissions")
    assert [each.text for each in page.one("nav", aria_label="Stages").find("a")] == [
        "To decide 1",
        "With the sender 2",
        "Under way 0",
        "Over 0",
        "All 3",
    ]
    # What is opened next waits for a decision, too.
    await archive.client.post(f"{paths[1]}/seal", headers={"if-match": "*"})
    await archive.client.post(f"{paths[1]}/review", headers={"if-match": "*"})
    following = [
        each.attributes["href"] for each in (await page_of(archive, paths[0])).find("a", aria_keyshortcuts="q")
    ]
    assert following == [paths[1]]
    for wrong in ({"stage": "nosuch"}, {"orderby": "size"}, {"offset": "x"}, {"text": "a\0"}, {"nosuch": "1"}):
        answer = await archive.client.get("/submissions", params=wrong, headers=BROWSER)
        assert answer.status_code == 400, wrong


async def test_many_submissions_are_decided_on_with_one_form(start_archive: StartArchive) -> None:
    async with start_archive(job_slots=1) as archive:
        paths = [await opened(archive, title=f"Bulk {number}") for number in (1, 2)]
        page = await page_of(archive, "/submissions", stage="sender", text="bulk", orderby="title")
        chosen = [each.attributes["value"] for each in page.find("input", name="submission")]
        assert chosen == [f"{path.rpartition('/')[2]} 1" for path in paths]
        (decide,) = [each.attributes["action"] for each in page.find("form") if "data-decisions" in each.attributes]
        fields = {"submission": [chosen[0], chosen[1][:-1] + "9"], "action": "reject", "reason": "duplicate"}
        for wrong, said in (
            ({**fields, "reason": ""}, "A reason is needed to reject."),
            ({**fields, "action": "publish"}, "No reason is kept to publish"),
            ({**fields, "action": ""}, "Nothing was chosen"),
            ({**fields, "submission": "x"}, "names with revisions"),
            ({"action": "seal"}, "No submission is chosen."),
        ):
            refused = await send(archive, decide, {"comment": "typed", **wrong})
            assert refused.status_code == 400
            page = parse(refused.text)
            assert barriers(page) == []
            assert said in page.one(id="problem").text
            assert page.one(id="comment").attributes["value"] == "typed"
            assert len(page.find("input", name="submission")) == 2, "the same stage with the same filters"
            ticked = page.find("input", name="submission", checked="")
            assert len(ticked) == (2 if wrong.get("submission") == fields["submission"] else 0)
        forged = await archive.client.post(decide, data=fields, headers=BROWSER)
        assert forged.status_code == 403
        begun = await send(archive, decide, fields)
        assert begun.status_code == 303
        while "data-refresh" in (await archive.client.get(begun.headers["location"], headers=BROWSER)).text:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        page = await page_of(archive, begun.headers["location"])
        told = [row.text for row in page.one("tbody").find("tr")]
        assert told[0] == "Bulk 1 done"
        assert told[1].startswith("Bulk 2 changed")
        assert (await archive.client.get("/submissions/decisions/0", headers=BROWSER)).status_code == 404


async def test_a_value_is_corrected_wherever_it_occurs_and_the_correction_taken_back(
    start_archive: StartArchive,
) -> None:
    async with start_archive(job_slots=1) as archive:
        lines = part10(image(study=9, series=2, instance=1, StudyDescription="Lines", ImageComments="a b\r\nc"))
        path = await opened(archive, *ct_series(3, study=9), lines, title="Corrected")
        attribute = f"{path}/inventory/values?attribute=00081030"
        assert (await page_of(archive, attribute)).find("select", name="deed") == []
        await values_are_approved(archive, path, attribute)
        await archive.client.post(f"{path}/seal", headers={"if-match": "*"})
        # Its checks find nothing.
        while (await archive.client.get(path)).json()["state"] != "in_review":  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        page = await page_of(archive, attribute)
        values = [each.attributes["value"] for each in page.find("input", name="old")]
        assert values == ["HEAD%5EROUTINE", "Lines"]
        fields = {"attribute": "00081030", "scope": "chosen", "old": values[0], "deed": "becomes", "new": "Head <1>"}
        for wrong in (
            {"deed": ""},
            {"attribute": ""},
            {"new": "x" * 5000},
            {"old": "%00"},
            {"scope": ""},
            {"deed": "removed"},
            {"binary": "yes"},
            {"attribute": "00080018", "scope": "every"},
        ):
            assert (await send(archive, f"{path}/correct", {**fields, **wrong})).status_code in (400, 409), wrong
        unchosen = {name: value for name, value in fields.items() if name != "old"}
        assert (await send(archive, f"{path}/correct", unchosen)).status_code == 400
        (lines,) = (await page_of(archive, f"{path}/inventory/values?attribute=00204000")).find("input", name="old")
        several = {**fields, "attribute": "00204000", "old": lines.attributes["value"]}
        tried = parse((await send(archive, f"{path}/correct", several)).text)
        assert tried.one(id="preview").text.startswith("1 instance of"), "a form makes all line ends the same"
        tried = parse((await send(archive, f"{path}/correct", fields)).text)
        assert barriers(tried) == []
        assert tried.one(id="preview").text.startswith("3 instances of 1 series in 1 study would change")
        (row,) = tried.one(id="changes").one("tbody").find("tr")
        assert row.text == "StudyDescription 00081030 HEAD^ROUTINE Head <1> 3"
        hidden = {each.attributes["name"]: each.attributes["value"] for each in tried.find("input", type="hidden")}
        assert (await send(archive, f"{path}/correct", {**hidden, "reason": ""})).status_code == 400
        assert (await send(archive, f"{path}/correct", {**hidden, "revision": "1", "reason": "y"})).status_code == 412
        begun = await send(archive, f"{path}/correct", {**hidden, "reason": "house style"})
        assert begun.status_code == 303, begun.text
        page = await ended(archive, begun.headers["location"])
        assert "3 instances changed" in page.one(id="edit").text
        assert row.text == page.one(id="changes").one("tbody").one("tr").text
        assert (
            "Head <1> 3" in (await page_of(archive, f"{path}/inventory", q="StudyDescription")).one(id="inventory").text
        )

        assert (
            "what was edited or replaced has to be checked again"
            in (await page_of(archive, path)).one(id="against").text
        )

        await rules_are_tried_and_applied(archive, path)

        undo = f"{begun.headers['location']}/take-back"
        page = await page_of(archive, begun.headers["location"])
        revision = page.one("input", name="revision").attributes["value"]
        assert (await send(archive, undo, {"revision": revision})).status_code == 400
        undone = await send(archive, undo, {"revision": revision, "reason": "it was right"})
        assert undone.status_code == 303
        assert "takes edit" in (await ended(archive, undone.headers["location"])).one(id="edit").text
        edits = (await page_of(archive, f"{path}/edits")).one(id="edits").one("tbody").find("tr")
        assert [row.one("a").text for row in edits] == ["it was right", "by rules", "house style"]
        assert (await archive.client.get(f"{path}/edits/x", headers=BROWSER)).status_code == 404
        assert (await archive.client.get(f"{path}/correct", headers=BROWSER)).status_code == 303


async def values_are_approved(archive: Archive, path: str, attribute: str) -> None:
    """Approve all values of two attributes, then one of another, and take that back."""
    page = await page_of(archive, f"{path}/inventory", q="Study")
    (form,) = [each for each in page.find("form") if "approve-attributes" in each.attributes.get("action", "")]
    total = int(page.one(id="inventory-status").text.partition(";")[2].split()[0])
    content = page.one("input", name="content").attributes["value"]
    fields = {"attribute": ["0020000D", "00080020"], "content": content, "say": "approve", "comment": "seen"}
    for wrong, status in (
        ({"attribute": []}, 400),
        ({"attribute": "Nosuch"}, 400),
        ({"attribute": "00104000"}, 404),
        ({"content": "0"}, 412),
        ({"say": ""}, 400),
    ):
        refused = await send(archive, form.attributes["action"], {**fields, **wrong})
        assert refused.status_code == status, wrong
        page = parse(refused.text)
        assert barriers(page) == []
        assert page.one(id="problem").text
        assert page.one(id="q").attributes["value"] == "Study"
    approved = await send(archive, form.attributes["action"], fields)
    page = await page_of(archive, approved.headers["location"])
    assert f"{total - 2} attributes are undecided. 2 values are newly approved" in page.one(id="inventory-status").text
    lines = {row.one("input").attributes["value"]: row for row in page.one(id="inventory").one("tbody").find("tr")}
    assert [name for name, row in lines.items() if row.find("span", class_="good")] == ["00080020", "0020000D"]
    left = await page_of(archive, f"{path}/inventory", q="Study", undecided="yes")
    assert len(left.find("input", name="attribute")) == len(lines) - 2

    page = await page_of(archive, attribute)
    (old,) = [
        each.attributes["value"] for each in page.find("input", name="old") if "Lines" in each.attributes["value"]
    ]
    approve = (
        page.one("button", value="approve").attributes.get("formaction")
        or page.one("main").one("form").attributes["action"]
    )
    assert (await send(archive, approve, {"content": content, "say": "approve"})).status_code == 400
    approved = await send(archive, approve, {"old": old, "content": content, "say": "approve"})
    page = await page_of(archive, approved.headers["location"])
    assert "not all approved. 1 value is newly approved" in page.one("main").text
    revoked = await send(archive, approve, {"old": old, "say": "revoke"})
    assert "1 value is not approved any more" in (await page_of(archive, revoked.headers["location"])).one("main").text
    every = await send(archive, approve, {"content": content, "say": "approve-all"})
    assert (
        "; approved. 2 values are newly approved"
        in (await page_of(archive, every.headers["location"])).one("main").text
    )
    pixels = f"{path}/inventory/values?attribute=7FE00010"
    assert "binary" in (await page_of(archive, pixels)).one("input", name="binary").attributes["id"]
    binary = await send(
        archive, f"{path}/approve-values?attribute=7FE00010", {"binary": "yes", "content": content, "say": "approve"}
    )
    assert "1 value is newly approved" in (await page_of(archive, binary.headers["location"])).one("main").text
    assert "Values approved 2 attributes, 2 values seen" in (await page_of(archive, f"{path}/events")).one("main").text


async def rules_are_tried_and_applied(archive: Archive, path: str) -> None:
    """Write rules into the form, which grows by a blank row at a time, look at what they would do, and apply them."""
    form = f"{path}/edits/new"
    page = await page_of(archive, form, attribute="SeriesDescription")
    assert page.one(id="rule-1-attribute").attributes["value"] == "SeriesDescription"
    one = {"rule-1-attribute": "SeriesDescription", "rule-1-deed": "map", "rule-1-old": "Axial 5 mm\r\nother"}
    longer = parse((await send(archive, form, {**one, "more": "1"})).text)
    assert barriers(longer) == []
    assert "autofocus" in longer.one(id="rule-1-1-attribute").attributes
    assert longer.one(id="rule-1-old").text == "Axial 5 mm other"
    longer = parse((await send(archive, form, {"rule-1-attribute": "", "more": "rule"})).text)
    assert "autofocus" in longer.one(id="rule-2-attribute").attributes
    for wrong, status, said in (
        ({"rule-1-attribute": ""}, 400, "There is no rule"),
        ({**one, "rule-1-new": "a\nb\nc"}, 400, "Rule 1 needs one new text"),
        ({**one, "rule-1-1-attribute": "", "rule-1-1-value": "CT"}, 400, "Condition 1 of rule 1 names no attribute"),
        ({**one, "rule-1-1-attribute": "Nosuch"}, 400, "Condition 1 of rule 1 cannot be understood"),
        ({"rule-1-attribute": "", "rule-2-attribute": "Nosuch"}, 400, "Rule 1 cannot be understood"),
        ({"rule-1-attribute": "KVP", "rule-1-new": "x"}, 400, "Rule 1, its new text, cannot be understood"),
        ({"rule-1-attribute": "SOPInstanceUID", "rule-1-deed": "remove"}, 400, "Rule 1 cannot be understood"),
        ({"rule-1-attribute": "FrameOfReferenceUID", "rule-1-new": "1.2"}, 409, "UIDs are not edited"),
        ({**one, "rule-1-deed": "nosuch"}, 400, "nothing was chosen"),
    ):
        refused = await send(archive, form, wrong)
        assert refused.status_code == status, wrong
        assert said.lower() in refused.text.lower(), wrong
        assert barriers(parse(refused.text)) == []

    fields = {
        **one,
        "rule-1-new": "Axial",
        "rule-1-1-attribute": "InstanceNumber",
        "rule-1-1-test": "is_not",
        "rule-1-1-value": "2\r\n3",
        "rule-1-2-attribute": "ImageComments",
        "rule-1-2-test": "absent",
        "rule-3-attribute": "SeriesDescription",
        "rule-3-deed": "replace",
        "rule-3-old": "Axial",
        "rule-3-new": "<Ax>",
        "rule-3-1-attribute": "SeriesDescription",
        "rule-3-1-test": "contains",
        "rule-3-1-value": "mm",
    }
    tried = parse((await send(archive, form, fields)).text)
    assert barriers(tried) == []
    assert tried.one(id="preview").text.startswith("4 instances of 2 series in 1 study would change")
    rows = [row.text for row in tried.one(id="changes").one("tbody").find("tr")]
    assert rows == [
        "SeriesDescription 0008103E Axial 5 mm <Ax> 5 mm 3",
        "SeriesDescription 0008103E Axial 5 mm Axial 1",
    ]
    hidden = {each.attributes["name"]: each.attributes["value"] for each in tried.find("input", type="hidden")}
    assert len(hidden) == 2 + 2 * 5 + 3 * 3
    late = await send(archive, form, {**hidden, "revision": "1", "reason": "by rules"})
    assert late.status_code == 412
    page = parse(late.text)
    assert page.one(id="reason").attributes["value"] == "by rules"
    assert page.one(id="rule-2-1-value").text == "mm"
    assert (await send(archive, form, {**hidden, "reason": ""})).status_code == 400
    begun = await send(archive, form, {**hidden, "reason": "by rules"})
    assert begun.status_code == 303, begun.text
    page = await ended(archive, begun.headers["location"])
    assert [row.text for row in page.one(id="changes").one("tbody").find("tr")] == rows


async def test_studies_are_published_that_somebody_has_chosen(archive: Archive) -> None:
    """What would come of each is shown beside it."""
    files = [part10(image(study=study, PatientID=f"PUB-{study}")) for study in (21, 22)]
    path = await opened(archive, *files, title="By study")
    for action in ("seal", "review"):
        await archive.client.post(f"{path}/{action}", headers={"if-match": "*"})
    page = await page_of(archive, f"{path}/publish")
    assert "nothing is published before it is approved" in page.one(id="publish-status").text
    assert page.find("input", name="study") == []
    refused = await send(archive, f"{path}/publish-chosen", {"study": f"{ROOT}.21", "revision": "3"})
    assert refused.status_code == 409
    assert (await page_of(archive, path)).find(id="wants-values") == []
    for wanted in (["*"], []):
        rules = {"rules": {"approved_values": wanted}}
        changed = await archive.client.patch("/collections/default", json=rules, headers={"if-match": "*"})
        assert changed.status_code == 200, changed.text
        if wanted:
            assert "wants values approved" in (await page_of(archive, path)).one(id="wants-values").text
            refused = await send(archive, f"{path}/decide", {"action": "approve", "revision": "3"})
            assert "attributes have values that are not approved" in parse(refused.text).one(id="problem").text
    approved = await archive.client.post(f"{path}/approve", headers={"if-match": "*"})
    page = await page_of(archive, f"{path}/publish")
    for row, study in zip(page.one(id="foreseen").one("tbody").find("tr"), (21, 22), strict=True):
        assert f"Doe, Jane PUB-{study} 31 Jan 2024, HEAD^ROUTINE {ROOT}.{study} 1 instance" in row.text
        assert [each.text for each in row.find("td", class_="number")] == ["1", "0", "0"]
    behind = await page_of(archive, f"{path}/publish", since=f"{ROOT}.21")
    assert [each.attributes["value"] for each in behind.find("input", name="study")] == [f"{ROOT}.22"]
    revision = page.one("input", name="revision").attributes["value"]
    assert revision == approved.headers["etag"].strip('"')
    fields = {"study": f"{ROOT}.21", "revision": revision, "comment": "the first one"}
    for wrong, status in (
        ({"study": ""}, 400),
        ({"study": "x"}, 400),
        ({"study": f"{ROOT}.99"}, 404),
        ({"revision": "1"}, 412),
    ):
        refused = await send(archive, f"{path}/publish-chosen", {**fields, **wrong})
        assert refused.status_code == status, wrong
        page = parse(refused.text)
        assert barriers(page) == []
        assert page.one(id="comment").attributes["value"] == "the first one"
    begun = await send(archive, f"{path}/publish-chosen", fields)
    assert begun.headers["location"] == f"{path}?done=publish"
    somebody = Principal("somebody", PrincipalKind.KEY_HOLDER, with_included({Role.ADMIN}))
    service = archive.app.state.services.jobs
    (listed,) = await service.list_jobs(somebody, subject=path, kind=PUBLISH_SUBMISSION)
    assert (await service.get(listed.id, somebody)).arguments["studies"] == [f"{ROOT}.21"]
    page = await page_of(archive, f"{path}/publish")
    assert page.find("input", name="study") == []
    assert "the first one" in (await page_of(archive, path)).one("ol", class_="trail").text


async def ended(archive: Archive, path: str) -> Node:
    """Wait for the end of an edit and return its page."""
    while "data-refresh" in (await archive.client.get(path, headers=BROWSER)).text:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    return await page_of(archive, path)


async def test_conflicts_are_shown_beside_what_has_their_uid(archive: Archive) -> None:
    name = (await archive.client.post("/submissions", json={})).json()["name"]
    for description in ("first", "second <b>"):
        body = related([part10(image(study=7, SeriesDescription=description))])
        headers = {"content-type": RELATED, "accept": "application/dicom+json"}
        await archive.client.post(f"/submissions/{name}/dicom-web/studies", content=body, headers=headers)
    page = await page_of(archive, f"/submissions/{name}/conflicts")
    (link,) = page.one(id="conflicts").find("a")
    assert "in this submission" in page.one(id="conflicts").text
    compared = await page_of(archive, link.attributes["href"])
    (row,) = compared.one(id="differences").one("tbody").find("tr")
    assert "SeriesDescription first second <b>" in row.text
    missing = await archive.client.get(f"/submissions/{name}/conflicts/x", headers=BROWSER)
    assert missing.status_code == 404

    queue = await page_of(archive, "/submissions", stage="all")
    assert "1 undecided conflict" in queue.one("tr", data_submission=name).text

    rule = f"/submissions/{name}/rule"
    fields = {
        each.attributes["name"]: each.attributes.get("value", "") for each in compared.find("input", type="hidden")
    }
    for wrong in (
        {},
        {"decision": "reject"},
        {"decision": "keep", "reason": "x"},
        {"decision": "keep", "conflict": ""},
    ):
        refused = await send(archive, rule, {**fields, **wrong, "comment": "typed"})
        assert refused.status_code == 400, wrong
        assert parse(refused.text).one(id="comment").attributes["value"] == "typed"
    late = await send(archive, rule, {**fields, "decision": "keep", "revision": "99"})
    assert late.status_code == 412
    decided = await send(archive, rule, {**fields, "decision": "keep", "comment": "the first is right"})
    assert decided.status_code == 303
    assert "0 conflicts. It is decided." in (await page_of(archive, decided.headers["location"])).one("main").text
    queue = await page_of(archive, "/submissions", stage="all")
    assert "undecided" not in queue.one("tr", data_submission=name).text
    kept = await page_of(archive, f"/submissions/{name}/conflicts", show="decided")
    assert "what stands stays" in kept.one(id="conflicts").text
    assert await page_of(archive, link.attributes["href"])


async def test_pages_are_for_those_whose_submissions_they_are_and_forms_come_from_them(archive: Archive) -> None:
    path = await opened(archive, *ct_series(1, study=8), title="Secret title")
    # Where no key is asked for, a page elsewhere decides nothing either.
    for headers in ({}, {"sec-fetch-site": "cross-site"}, {"origin": "http://evil.example"}):
        for below in ("decide", "comment", "check", "waive", "publish-chosen", "approve-values"):
            forged = await archive.client.post(
                f"{path}/{below}", data={"action": "seal", "revision": "1"}, headers={**BROWSER, **headers}
            )
            assert forged.status_code == 403, (below, headers)
    held = frozenset({Role.READER})
    archive.let_in(
        Principal("rob", PrincipalKind.KEY_HOLDER, held),
        Principal("sue", PrincipalKind.KEY_HOLDER, held | {Role.SUBMITTER}),
        Principal("cyd", PrincipalKind.KEY_HOLDER, with_included({Role.CURATOR}), frozenset({1})),
        Principal("dan", PrincipalKind.KEY_HOLDER, with_included({Role.CURATOR}), frozenset({2})),
    )
    shown = ("", "/findings", "/inventory", "/events", "/conflicts", f"/studies/{ROOT}.8/series/{ROOT}.8.1")
    below = (*shown, "/decide", "/publish", "/edits/new")
    for name in (path, "/submissions/nosuch", "/submissions/no%00such"):
        for place in below:
            answer = await archive.client.get(name + place, headers=BROWSER)
            assert (answer.status_code, answer.headers["location"].startswith("/sign-in")) == (303, True)
            for key, status in (("rob", 403), ("sue", 404), ("dan", 404)):
                headers = {**BROWSER, "authorization": f"Bearer {key}"}
                answer = await archive.client.get(name + place, headers=headers)
                assert answer.status_code == status, (name, place, key)
                assert "Secret" not in answer.text
    assert "Secret" not in (await page_of(archive, "/submissions", key="sue")).text
    assert "Submissions" not in (await page_of(archive, "/", key="rob")).one("nav", aria_label="Main").text

    own = await archive.client.post("/submissions", json={"title": "Own"}, headers={"authorization": "Bearer sue"})
    own_path = f"/submissions/{own.json()['name']}"
    assert choices(await page_of(archive, own_path, key="sue")) == ["seal", "withdraw"]
    assert choices(await page_of(archive, own_path, key="cyd")) == ["reject", "seal", "withdraw"]
    assert "Own" in (await page_of(archive, "/submissions", key="sue")).one(id="queue").text
    key = {"authorization": "Bearer sue"}
    for place, fields in (
        ("decide", {"action": "reject", "revision": "1", "reason": "other"}),
        ("check", {"check_set": ""}),
        ("waive", {"deed": "waive"}),
    ):
        assert (await send(archive, f"{own_path}/{place}", fields, **key)).status_code == 403
    too_large = await send(archive, f"{own_path}/comment", {"comment": "x" * 50_000}, **key)
    assert too_large.status_code == 413
