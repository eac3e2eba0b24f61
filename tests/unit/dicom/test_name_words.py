"""Words of person names: which spellings meet, and that every name is found by itself and its beginnings."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomweb_archive.dicom.comparable_values import person_name_text
from dicomweb_archive.dicom.name_words import (
    STORED_WORDS,
    WORD_CHARACTERS,
    key_words,
    stored_words,
    without_accents,
    words_match,
)

DELIMITERS = "^= ,-'’"
NAMES = st.lists(
    st.text(st.characters(exclude_categories=["Cs", "Cn"]), min_size=1, max_size=12), min_size=1, max_size=8
).flatmap(lambda words: st.sampled_from(DELIMITERS).map(lambda between: between.join(words)))


def is_found(key: str, name: str) -> bool:
    return words_match(key_words(key), frozenset(stored_words(name)))


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("müller", "MUELLER^JÖRG"),
        ("Müller", "Muller^Jorg"),
        ("Mueller", "Müller^Jörg"),
        ("jörg mül", "Müller^Jörg"),
        ("Joerg", "Müller^Jörg"),
        ("Jörg", "Müller^Joerg"),
        ("Juergen Jaeger", "Jäger^Jürgen"),
        ("Strasse", "Straße^Ä"),
        ("Sorensen", "Sørensen^Kjær"),
        ("Soerensen", "Sørensen^Kjær"),
        ("Åse", "Aase^Lodz"),
        ("Łódź", "Aase^Lodz"),
        ("Thor", "Þór^Æsa"),
        ("Aesa", "Þór^Æsa"),
        ("Dokovic", "Ђоковић^Новак"),
        ("Djokovic", "Đoković^Novak"),
        ("Đoković", "Ђоковић^Новак"),
        ("Ivanov", "Иванов^Юрий"),
        ("Иванов Юрий", "Ivanov^Yuriy"),
        ("Yuri", "Иванов^Юрий"),
        ("Jurij", "Иванов^Юрий"),
        ("Habarov", "Хабаров"),
        ("Khabarov", "Хабаров"),
        ("Ševčenko", "Шевченко^Тарас"),
        ("Shevchenko", "Шевченко^Тарас"),
        ("Достоевский", "Dostoevsky^Fedor"),
        ("Papandreou Evangelos", "Παπανδρέου^Ευάγγελος"),
        ("Αγ", "Παπανδρέου^Άγγελος"),
        ("Philippos", "Φίλιππος"),
        ("Иванов", "Ιβάνοβ"),
        ("Yurek", "Ýürek"),
        ("İstanbullu", "istanbullu"),
        ("O'Brien", "O’BRIEN^SEÁN"),
        ("OBrien", "O'Brien^Seán"),
        ("Brien", "O'Brien^Seán"),
        ("Lüdenscheidt", "Mueller-Lüdenscheidt^Renate"),
        ("Ｙａｍａｄａ", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("tarou 山", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ヤマダ", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ﾔﾏﾀﾞ", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("김", "Hong^Gildong=洪^吉洞=김^길동"),
        ("قبا", "قباني^لنزار"),
        ("שרון", "שרון^דבורה"),
    ],
)  # fmt: skip
def test_a_name_is_found_by(key: str, name: str) -> None:
    assert is_found(key, name)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("Mueller", "Miller^Hans"),
        ("iller", "Miller^Hans"),
        ("Miller Anna", "Miller^Hans"),
        ("Joe", "John^Doe"),
        ("Sue", "Susan^Bauer"),
        ("Bur", "Susan^Bauer"),
        ("太郎", "山田太郎"),
        ("기", "김^길동"),
    ],
)  # fmt: skip
def test_a_name_is_not_found_by(key: str, name: str) -> None:
    assert not is_found(key, name)


@given(NAMES)
def test_a_name_is_found_by_itself_in_any_order(name: str) -> None:
    if len(stored_words(name)) < STORED_WORDS:
        assert is_found(name, name)
        words = name.replace("=", "^").replace(" ", "^").split("^")
        random.Random(name).shuffle(words)
        assert is_found(" ".join(words), name)


@given(NAMES, st.data())
def test_a_name_is_found_by_the_beginning_of_its_form_in_the_index(name: str, data: st.DataObject) -> None:
    folded = without_accents(name)
    beginning = folded[: data.draw(st.integers(0, len(folded)))]
    # Syllables of Hangul are whole letters: a beginning that splits one is none.
    if len(stored_words(name)) < STORED_WORDS and not any("\u1100" <= letter <= "\u11ff" for letter in folded):
        assert is_found(beginning, name)


@given(NAMES)
def test_the_form_in_the_index_has_the_words_of_the_name(name: str) -> None:
    assert set(stored_words("=".join(map(person_name_text, name.split("="))))) == set(stored_words(name))


@given(st.text(max_size=400))
def test_words_are_bounded_and_free_of_wild_cards_and_blanks(text: str) -> None:
    words = [*stored_words(text), *(spelling for spellings in key_words(text) for spelling in spellings)]
    assert len(stored_words(text)) <= STORED_WORDS
    for word in words:
        assert 0 < len(word) <= WORD_CHARACTERS
        assert not set(word) & set(" %_\\*?^=")
        assert "\0" not in word
