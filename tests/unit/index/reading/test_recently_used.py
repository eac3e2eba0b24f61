"""What a process keeps of what it has made, within a bound."""

from dicomweb_archive.index.reading.recently_used import ENTRY_BYTES, RecentlyUsed


def test_the_least_recently_used_goes_first():
    kept: RecentlyUsed[str] = RecentlyUsed(2 * (ENTRY_BYTES + 100))
    kept.put("a", "first", 100)
    kept.put("b", "second", 100)
    assert kept.find("a") == "first"
    kept.put("c", "third", 100)
    assert [kept.find(key) for key in "abc"] == ["first", None, "third"]


def test_values_of_no_size_are_bounded_too():
    kept: RecentlyUsed[bytes] = RecentlyUsed(64 * ENTRY_BYTES)
    for number in range(1000):
        kept.put(number, b"", 0)
    assert sum(kept.find(number) is not None for number in range(1000)) == 64
