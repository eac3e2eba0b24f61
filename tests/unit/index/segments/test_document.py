"""Documents: what goes in comes out, as each instance's own JSON."""

import json
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st

from dicomweb_archive.dicom.instance import BULK_MARKER, Element, ScannedInstance
from dicomweb_archive.index.segments.building import StoredInstance, build_segment
from dicomweb_archive.index.segments.document import decode_document, encode_document

SECRET = bytes(16)
UID = 0x00080018


def element(value: str) -> Element:
    return Element("LO", json.dumps({"vr": "LO", "Value": [value]}, separators=(",", ":")).encode(), (value,))


def uid(number: int) -> Element:
    value = f"1.2.{number}"
    return Element("UI", b'{"vr":"UI","Value":["%b"]}' % value.encode(), (value,))


def bulk(vr: str, tag: int) -> Element:
    return Element(vr, f'{{"vr":"{vr}","BulkDataURI":"{BULK_MARKER}{tag:08X}"}}'.encode(), (), True)


TAGS = (0x00080005, 0x00080060, 0x00100010, 0x00290010, 0x00291001, 0x00400275, 0x7FE00010)
elements = st.one_of(
    st.none(),
    st.sampled_from(["a", "b", 'quote "', "line\nbreak", "ünï"]).map(element),
    st.just(bulk("OW", 0x7FE00010)),
)
data_sets = st.fixed_dictionaries(dict.fromkeys(TAGS, elements)).map(
    lambda drawn: {tag: found for tag, found in drawn.items() if found is not None}
)


def stored_instances(drawn: list[dict[int, Element]]) -> list[StoredInstance]:
    """Make instances that share the first as their base."""
    whole = [dict(sorted({**data_set, UID: uid(number)}.items())) for number, data_set in enumerate(drawn)]
    base = whole[0]
    instances = []
    for number, own in enumerate(whole):
        delta: dict[int, Element | None] = {tag: e for tag, e in own.items() if base.get(tag) != e}
        delta.update((tag, None) for tag in base.keys() - own.keys())
        scanned = ScannedInstance("1.2", "1.3", f"1.2.{number}", "1.4", "1.5", 100, base, delta)
        instances.append(StoredInstance(scanned, number * 100, 100, bytes(32)))
    return instances


def own_json(instance: ScannedInstance, url: str) -> bytes:
    """Write one instance the plain way."""
    members = (b'"%08X":%b' % (tag, e.json) for tag, e in instance.attributes().items())
    return b"{" + b",".join(members).replace(BULK_MARKER.encode(), url.encode()) + b"}"


@given(st.lists(data_sets, min_size=1, max_size=6))
def test_merged_metadata_equal_each_instances_own(drawn: list[dict[int, Element]]):
    instances = stored_instances(drawn)
    document = decode_document(build_segment(instances, SECRET).document)
    urls = [f"http://x/{number}/bulkdata/" for number in range(len(instances))]
    merged = list(document.instance_texts([url.encode() for url in urls]))
    assert merged == [own_json(stored.scanned, url) for stored, url in zip(instances, urls, strict=True)]


@given(st.lists(data_sets, min_size=1, max_size=6), st.data())
def test_one_instance_of_a_document_equals_its_own(drawn: list[dict[int, Element]], data: st.DataObject):
    instances = stored_instances(drawn)
    position = data.draw(st.integers(0, len(instances) - 1))
    document = decode_document(build_segment(instances, SECRET).document)
    assert document.instance_text(position, b"u/") == own_json(instances[position].scanned, "u/")
    texts = {tag: e.json for tag, e in instances[position].scanned.attributes().items()}
    assert document.element_texts(position) == texts
    assert document.element_texts(position, {UID, 0x00080060}) == {
        tag: found for tag, found in texts.items() if tag in (UID, 0x00080060)
    }


@given(st.lists(data_sets, min_size=1, max_size=6))
def test_uids_are_read_back_in_order(drawn: list[dict[int, Element]]):
    document = decode_document(build_segment(stored_instances(drawn), SECRET).document)
    assert document.sop_instance_uids(len(drawn)) == [b"1.2.%d" % number for number in range(len(drawn))]


@settings(max_examples=50)
@given(st.lists(st.one_of(st.just(b""), st.lists(st.text(max_size=4), max_size=3)), min_size=2, max_size=6))
def test_columns_come_back_whatever_they_begin_and_end_with(drawn: list[bytes | list[str]]):
    texts = [
        each if isinstance(each, bytes) else json.dumps({"vr": "LO", "Value": each}, separators=(",", ":")).encode()
        for each in drawn
    ]
    assert decode_document(encode_document([(UID, texts)])).lines == ((b"00080018", texts),)


def test_what_all_values_of_a_column_begin_and_end_with_is_written_once():
    texts = [b'{"vr":"UI","Value":["1.2.840.%d"]}' % number for number in range(10, 14)]
    document = encode_document([(UID, texts)])
    assert zlib.decompress(document) == b'00080018+{"vr":"UI","Value":["1.2.840.1\x1d"]}\x1d0\x1e1\x1e2\x1e3\n'


def test_documents_of_whole_values_are_read():
    document = zlib.compress(b'00080005="a"\n00080018*"b"\x1e\x1e"c"\n')
    assert decode_document(document).lines == ((b"00080005", b'"a"'), (b"00080018", [b'"b"', b"", b'"c"']))
