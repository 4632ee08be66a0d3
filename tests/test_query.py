"""A query's text taken apart, and what it comes to together with the filters beside it."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.errors import UsageError
from indexer.store import Selection
from service.query import MAX_PHRASES, Filters, Query
from service.syntax import Parsed, parse


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ('does "bone mass" fall?', Parsed("does bone mass fall?", phrases=("bone mass",))),
        ("“Bone mass” („low”) in men", Parsed("Bone mass (low) in men", phrases=("Bone mass", "low"))),
        ('"of the" ""bone""', Parsed('of the "bone"', phrases=("of the", "bone"))),
        ("bone loss -mice", Parsed("bone loss", exclude=("mice",))),
        ("-ageing bone", Parsed("bone", exclude=("ageing",))),
        ("bone -TNF-α, -HLA:B27\n-x2", Parsed("bone ,", exclude=("TNF-α", "HLA:B27", "x2"))),
        ('bone -"in vitro" -“cell  line”', Parsed("bone", exclude=("in vitro", "cell  line"))),
        ('bone -"section: methods"', Parsed("bone", exclude=("section: methods",))),
        ("bone section:methods", Parsed("bone", section="methods")),
        ('SECTION:"Materials and methods" bone', Parsed("bone", section="Materials and methods")),
        ("section:3.2 bone Section:3.2", Parsed("bone", section="3.2")),
        ("bone year:2020", Parsed("bone", year_from=2020, year_to=2020)),
        ("bone year:2020 year:2020..2020", Parsed("bone", year_from=2020, year_to=2020)),
        ("bone Year:2018..", Parsed("bone", year_from=2018)),
        ("bone year:..2020", Parsed("bone", year_to=2020)),
        ("year:2018..2020 bone", Parsed("bone", year_from=2018, year_to=2020)),
        ('bone paper:PMC1 paper:"an id"', Parsed("bone", paper_ids=("PMC1", "an id"))),
        (
            'why is "bone mass" low -mice paper:PMC1 section:results year:1999..',
            Parsed("why is bone mass low", ("bone mass",), ("mice",), ("PMC1",), "results", 1999),
        ),
    ],
)
def test_syntax(text: str, parsed: Parsed) -> None:
    assert parse(text) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "stored at -80 °C",
        "TNF-α and beta-catenin",
        "a - b -- c --d -",
        "bone –mice −mice",
        "(-mice)",
        "HLA:B27 MONDO:0005298 http://example.org/section:x sections:y subsection:methods",
        'a "quote that never closes',
        'a -"quote that never closes',
        'from 5" to 6" pipes',
        'an"odd"one',
        '"" and "…" and -"±"',
        "year 2020, section 3: methods",
        "???",
    ],
)
def test_what_is_no_syntax_is_the_question(text: str) -> None:
    assert parse(text) == Parsed(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bone year:20x", "`year:20x` (character 6 of the query) names no year: write year:2020, year:2018.."),
        ("bone year:0999", "`year:0999` (character 6 of the query) names no year"),
        ("bone year:..", "`year:..` (character 6 of the query) names no year"),
        ("bone year:2018-2020", "`year:2018-2020` (character 6 of the query) names no year"),
        ("bone year:٢٠٢٠", "names no year"),
        ("bone year:2020..2018", "`year:2020..2018` (character 6 of the query) ends before it begins: "),
        ("bone year:2020..2018", "write year:2018..2020"),
        ("year:2020 bone year:2021", "`year:2021` (character 16 of the query) comes after other years"),
        ("the section: methods", "`section:` (character 5 of the query) has no value: write section:methods"),
        ("the section: methods", "put a blank before the colon if it is part of the question"),
        ('bone section:"no end', "`section:` (character 6 of the query) has no value"),
        ('bone paper:" "', '`paper:" "` (character 6 of the query) has no value: write paper:PMC12898183'),
        ("section:a bone section:b", "`section:b` (character 16 of the query) comes after section 'a': name one"),
        ("bone -section:methods", "`-section:methods` (character 6 of the query) cannot be excluded"),
        ('bone -Section:"materials and methods"', "`-Section` (character 6 of the query) cannot be excluded"),
        ("-year:2020 bone", "cannot be excluded: name what to search, as year:2020"),
        ("-mice", "only says where to look and what to exclude: add a question or words"),
        ("section:methods year:2020 ?", "add a question or words"),
    ],
)
def test_syntax_that_cannot_be_names_its_place(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert said in str(caught.value)


MARKS = st.sampled_from(
    ['"', "“", "”", "-", ":", " ", "\n", ".", "section:", "YEAR:", "paper:", "2020", "..", "bone", "α", "(", "é"]
)
QUERIES = st.lists(MARKS | st.characters(codec="utf-8") | st.text(max_size=5), max_size=30).map("".join)


def letters(*texts: str) -> Counter[str]:
    return Counter(character for text in texts for character in text if not character.isspace())


@given(QUERIES)
def test_no_query_crashes_and_no_character_is_lost(text: str) -> None:
    try:
        parsed = parse(text)
    except UsageError:
        return
    filters = (parsed.section, parsed.year_from, parsed.year_to, parsed.paper_ids)
    if any(filters):
        assert not letters(parsed.question, *parsed.exclude) - letters(text)
        return
    gone = letters(text) - letters(parsed.question, *parsed.exclude)
    assert set(gone) <= set('-"“”„')
    assert gone["-"] == len(parsed.exclude)
    assert gone.total() <= 3 * len(parsed.exclude) + 2 * len(parsed.phrases)
    assert letters(text) - gone == letters(parsed.question, *parsed.exclude)


WORDS = st.from_regex(r"[a-zα-ω]{1,8}(-[a-zα-ω]{1,8})?", fullmatch=True)
PHRASES = st.lists(WORDS, min_size=1, max_size=4).map(" ".join)


@given(
    st.lists(WORDS, min_size=1, max_size=6),
    st.lists(PHRASES, max_size=3),
    st.lists(PHRASES, max_size=3),
    st.lists(st.from_regex(r"PMC[1-9]{1,8}", fullmatch=True), max_size=3),
    PHRASES,
    st.randoms(use_true_random=False),
)
def test_syntax_says_what_was_put_in(
    words: list[str], phrases: list[str], exclude: list[str], papers: list[str], section: str, random: Any
) -> None:
    parts = [("words", word) for word in words]
    parts += [("phrases", f'"{phrase}"') for phrase in phrases]
    parts += [("exclude", f'-"{phrase}"') for phrase in exclude]
    parts += [("papers", f"paper:{paper}") for paper in papers]
    parts += [("section", f'section:"{section}"'), ("year", "year:2018..")]
    random.shuffle(parts)
    parsed = parse("  ".join(part for _, part in parts))
    order = {kind: [part for each, part in parts if each == kind] for kind, _ in parts}
    assert parsed == Parsed(
        question=" ".join(part.strip('"') for kind, part in parts if kind in ("words", "phrases")),
        phrases=tuple(part.strip('"') for part in order.get("phrases", [])),
        exclude=tuple(part.removeprefix("-").strip('"') for part in order.get("exclude", [])),
        paper_ids=tuple(part.removeprefix("paper:") for part in order.get("papers", [])),
        section=section,
        year_from=2018,
    )


def test_text_and_filters_come_to_one_selection() -> None:
    query = Query(
        'is "bone mass" low? -mice section:Methods year:2018..2020 paper:B paper:A',
        filters=Filters(("A", "B"), "methods", 2018, 2020, ("references",), ("bone mass", "of the"), ("-rats",)),
    )
    assert query.question == "is bone mass low?"
    assert query.selection == Selection(
        ("A", "B"), "methods", 2018, 2020, ("body", "references"), ("bone mass", "of the"), ("-rats", "mice")
    )
    assert Query("is bone mass low?").selection == Selection()


def test_what_filters_say_is_taken_as_words() -> None:
    filters = Filters(phrases=("-mice year:2020", '"bone"'), exclude=("section:a",))
    assert Query("x", filters=filters).selection == Selection(
        phrases=("-mice year:2020", '"bone"'), exclude=("section:a",)
    )


@pytest.mark.parametrize(
    ("text", "filters", "said"),
    [
        (
            "x section:a",
            Filters(section="b"),
            "`section:` in the query asks for 'a', and the filters beside it for 'b'",
        ),
        ("x year:2018..", Filters(year_from=2018, year_to=2020), "asks for '2018..', and the filters beside it for"),
        ("x year:2018..", Filters(year_to=2020), "beside it for '..2020': leave one of them out"),
        ("x paper:A", Filters(("A", "B")), "`paper:` in the query asks for 'A', and the filters beside it for 'A, B'"),
        ("x section:a", Filters(section="\ud800"), r"for '\ud800'"),
        ("x", Filters(phrases=tuple(map(str, range(MAX_PHRASES + 1)))), "phrases has 21 entries, and 20 are the most"),
        ("x" + " -a" * 10, Filters(exclude=tuple("bcdefghijklmnopqrstuvwx")), "exclude has 24 entries, and 20"),
        ("x", Filters(phrases=("a" * 501,)), "phrases has 501 characters, and 500 are the most"),
        ("x", Filters(exclude=("\ud800",)), "exclude is not text"),
        (f'x "{"a " * 300}"', Filters(), "phrases has 600 characters, and 500 are the most"),
    ],
)
def test_text_and_filters_that_do_not_fit(text: str, filters: Filters, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Query(text, filters=filters)
    assert said in str(caught.value)


def test_a_cursor_is_of_one_meaning() -> None:
    cursor = Query("bone -mice").next_cursor(10, 7)
    assert Query("bone -mice", cursor=cursor).offset(7) == 10
    assert Query("bone -mice", k=3, max_tokens=50, cursor=cursor).offset(7) == 10
    others = [
        Query("bone", cursor=cursor),
        Query("bone mice", cursor=cursor),
        Query("bone", filters=Filters(exclude=("rats",)), cursor=cursor),
        Query("bone -mice", filters=Filters(phrases=("mice",)), cursor=cursor),
    ]
    for other in others:
        with pytest.raises(UsageError, match="belongs to another query"):
            other.offset(7)


def test_every_filter_reaches_the_store() -> None:
    """A field that is forgotten on the way would filter nothing, and nobody would notice."""
    assert {each.name for each in fields(Selection)} == {each.name for each in fields(Filters)} - {"include"} | {
        "roles"
    }
