"""Whether sources still read as cited: every verdict, and where a text has moved to."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.build import build
from indexer.config import BuildConfig
from indexer.embedding import Embedder
from indexer.errors import UsageError
from indexer.markdown import parse_markdown
from indexer.papers import Paper
from indexer.sources import MAX_BYTES
from indexer.store import IndexReader, IndexWriter
from service.cite import Citation, cite_sentences, cite_span, sentences_in
from service.library import Library
from service.query import Query
from service.replies import Verdict
from service.verify import MAX_CLAIMS, Claim, Source, read_claims, verify
from tests.conftest import Run
from tests.corpus import KETTLES, LIMPETS
from tests.fakes import WordEmbedder, citation

CONFIG = BuildConfig(model="words")
GRIP = "Grip fell by half when"
ROCK = "Limpets cling to rock"


class Shelf:
    """Papers in a folder, their index, and what it cites."""

    def __init__(self, papers: Path, index: Path) -> None:
        self.papers = papers
        self.index = index
        self.build()
        self.library = Library.open(index, load=_no_model)

    def build(self, **options: bool) -> None:
        assert not build([self.papers], self.index, WordEmbedder(max_wordpieces=256), CONFIG, **options).failed

    def cited(self, beginning: str, n: int = 1) -> Citation:
        """The citation of `n` sentences, the first of which begins so."""
        reader = IndexReader(self.index)
        with reader.snapshot() as snapshot:
            for paper in snapshot.papers():
                references = snapshot.references(paper.paper_id)
                for stored in snapshot.passages_of(paper.paper_id):
                    sentences, at = stored.passage.sentences, stored.passage.start
                    for first, sentence in enumerate(sentences):
                        if stored.passage.text.startswith(beginning, sentence.start - at):
                            found = cite_sentences(stored, references, sentences[first : first + n])
        reader.close()
        assert len(found.sentences) == n
        return found

    def hit(self, words: str) -> Citation:
        """The citation of the passage that holds these words, as a search would give it: by one of its sentences."""
        reader = IndexReader(self.index)
        with reader.snapshot() as snapshot:
            for paper in snapshot.papers():
                for stored in snapshot.passages_of(paper.paper_id):
                    if words in stored.passage.text:
                        view = self.library.passage(stored.passage.passage_id).passage.citation
                        named = next(
                            each
                            for each in stored.passage.sentences
                            if words
                            in stored.passage.text[each.start - stored.passage.start :][: each.end - each.start]
                        )
                        best = cite_sentences(stored, {}, [named])
                        found = replace(view, paragraph=best.paragraph, sentences=best.sentences, label=best.label)
        reader.close()
        return found

    def edit(self, old: str, new: str, name: str = "limpets.md") -> str:
        """Change the paper; gives its text."""
        path = self.papers / name
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1
        path.write_text(text.replace(old, new), encoding="utf-8")
        return text.replace(old, new)

    def verdict(self, citation: Citation) -> Verdict:
        """What became of it. A moved text reads to the letter where it is said to stand."""
        reply = self.library.verify([citation])
        (verdict,) = reply.verdicts
        assert (reply.status, verdict.citation) == (verdict.status, citation)
        if verdict.now is not None:
            raw = (self.papers / verdict.now.source).read_bytes()
            assert raw.decode()[verdict.now.start : verdict.now.end] == verdict.now.exact
            assert hashlib.sha256(raw).hexdigest() == verdict.now.source_sha256
        return verdict


def _no_model(name: str) -> Embedder:
    raise AssertionError(f"{name} was loaded")


def moved(verdict: Verdict) -> Citation:
    assert verdict.status == "moved", verdict
    assert verdict.now is not None
    assert verdict.similarity is None
    return verdict.now


def same_place(now: Citation, indexed: Citation) -> bool:
    """Whether both say the same, but for how far the surroundings reach."""
    return replace(now, prefix="", suffix="") == replace(indexed, prefix="", suffix="")


@pytest.fixture
def shelf(corpus: Path, tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(Path(shutil.copytree(corpus, tmp_path / "papers")), tmp_path / "index")
    yield made
    made.library.close()


# In place


@pytest.mark.parametrize("n", [1, 2, 3])
def test_an_untouched_file(shelf: Shelf, n: int) -> None:
    verdict = shelf.verdict(shelf.cited(GRIP, n))
    assert verdict == Verdict("ok", "the text stands there", verdict.citation, None, None)


def test_every_passage_of_untouched_files(shelf: Shelf) -> None:
    library = shelf.library
    ids = [each for paper in library.papers().papers for each in library.paper(paper.paper_id).passage_ids]
    views = [library.passage(each).passage for each in ids]
    reply = library.verify([Claim(view.text, view.citation) for view in views])
    assert len(reply.verdicts) >= 11
    assert {(each.status, each.now) for each in reply.verdicts} == {("ok", None)}


def test_a_change_below_leaves_the_text_in_place(shelf: Shelf) -> None:
    cited = shelf.cited(GRIP)
    shelf.edit("only ladder.", "only ladder. It was a good ladder.")
    verdict = shelf.verdict(cited)
    assert (verdict.status, verdict.now) == ("ok", None)
    assert "changed elsewhere" in verdict.reason


# Moved


def test_text_inserted_above(shelf: Shelf) -> None:
    cited = shelf.cited(GRIP)
    shelf.edit("The foot let go", "A new paragraph stands first.\n\nThe foot let go")
    now = moved(shelf.verdict(cited))
    assert (now.start, now.end) == (cited.start + 31, cited.end + 31)
    assert (cited.paragraph, now.paragraph, now.label) == (2, 3, cited.label.replace("¶2", "¶3"))
    assert [each.number for each in now.references] == ["1", "2"]
    assert now.links.reader == f"/papers/PMC9000001?start={now.start}&end={now.end}&of={now.source_sha256[:12]}#cited"
    shelf.build()
    assert same_place(now, shelf.cited(GRIP))
    assert shelf.verdict(shelf.cited(GRIP)).reason == "the text stands there"


def test_a_section_renamed_in_place(shelf: Shelf) -> None:
    cited = shelf.cited(GRIP)
    shelf.edit("### 3.2. Grip and Temperature", "### 3.2. Grip and Temperament")  # as long as before
    verdict = shelf.verdict(cited)
    now = moved(verdict)
    assert (now.start, now.section) == (cited.start, ("3. Results", "3.2. Grip and Temperament"))
    assert verdict.reason == "the text stands where it did, with another section and label"


def test_a_section_moved(shelf: Shelf) -> None:
    cited = shelf.cited("Shell length was taken")
    methods = LIMPETS[LIMPETS.index("## 2. Methods") : LIMPETS.index("## 3. Results")]
    shelf.edit(methods, "")
    shelf.edit("## 4. Acknowledgements", f"{methods}## 4. Acknowledgements")
    now = moved(shelf.verdict(cited))
    assert now.start > cited.start
    assert (now.section, now.paragraph, now.sentences) == (cited.section, 1, (3,))
    shelf.build()
    assert same_place(now, shelf.cited("Shell length was taken"))


def test_surroundings_decide_between_copies(shelf: Shelf) -> None:
    cited = shelf.cited("The relation was close to linear")
    text = shelf.edit(
        "## 2. Methods\n\n",
        f"## 2. Methods\n\n{cited.exact} This copy stands nearer to where it stood, with other words about it.\n\n"
        + "A filler of some length keeps the first one off. " * 20
        + "\n\n",
    )
    shelf.edit("twenty-eight degrees.", f"twenty-eight degrees. {cited.exact}")
    verdict = shelf.verdict(cited)
    now = moved(verdict)
    assert text.count(cited.exact) == 2
    assert now.start == text.index("Longer shells held harder.") + len("Longer shells held harder. ")
    assert "alike" not in verdict.reason


def test_copies_alike_in_all_are_counted(shelf: Shelf) -> None:
    cited = shelf.cited("The relation was close to linear")
    twice = f"Longer shells held harder. {cited.exact}\n\n### 3.2. Grip"
    shelf.edit("### 3.2. Grip", f"And so on.\n\n{twice}")
    shelf.edit("Limpets cling", "Here limpets cling")
    verdict = shelf.verdict(replace(cited, suffix=""))
    assert "2 places read and are surrounded alike" in verdict.reason
    assert moved(verdict).start == cited.start + len("Here ")


def test_a_reference_counts_only_where_nothing_else_does(shelf: Shelf) -> None:
    cited = replace(shelf.cited(ROCK), prefix="", suffix="")
    shelf.edit(cited.exact, "We begin.")
    shelf.edit("## References\n", f"## References\n\n3. {cited.exact}\n")
    assert moved(shelf.verdict(cited)).section == ("References",)
    shelf.edit("## 2. Methods\n", f"## 2. Methods\n\nWe begin. {cited.exact}\n")
    assert moved(shelf.verdict(cited)).section == ("2. Methods",)


@pytest.mark.parametrize(
    "rewritten",
    [
        lambda text: text.replace("twelve to\ntwenty", "twelve to twenty").replace(" ", "\n"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("twelve", "twe\u00adlve\u00a0"),
        lambda text: text.replace("stiffness", "stiffness\n\n"),
    ],
)
def test_a_reflowed_text_has_moved(shelf: Shelf, rewritten: Callable[[str], str]) -> None:
    cited = shelf.cited(GRIP)
    at, end = LIMPETS.index(GRIP), LIMPETS.index("Limpets that were")
    with (shelf.papers / "limpets.md").open("w", encoding="utf-8", newline="") as file:
        file.write(f"{LIMPETS[:at]}{rewritten(LIMPETS[at:end])}{LIMPETS[end:]}")
    verdict = shelf.verdict(cited)
    now = moved(verdict)
    assert "its words do not" in verdict.reason
    assert now.exact != cited.exact
    assert "".join(now.exact.replace("\u00ad", "").split()) == "".join(cited.exact.split())
    assert (now.start, now.section, now.paragraph) == (cited.start, cited.section, 2)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_composed_characters_and_quotation_marks(form: Any) -> None:
    sentence = "Él dijo “naïve café” (l’été) à Ångström, 42 µm."
    before = parse("# T\n\nOne.\n\n" + unicodedata.normalize("NFD" if form == "NFC" else "NFC", sentence))
    text = before.text.index("One.") + len("One.\n\n")
    cited = cite_span(before, text, len(before.text))
    now = unicodedata.normalize(form, sentence).translate(str.maketrans("“”’", '""\''))
    verdict = verify(Claim(cited.exact, cited), Source(parse(f"# T\n\nOne, ({now})\n"), "", ()))
    assert moved(verdict).exact == now


def test_the_named_sentences_of_a_passage_move_with_it(shelf: Shelf) -> None:
    cited = shelf.hit("No animal of any size")
    assert (cited.paragraph, cited.sentences) == (2, (3,))
    assert shelf.verdict(cited).status == "ok"
    shelf.edit("The foot let go", "A new paragraph. It has two sentences. Or three, rather.\n\nThe foot let go")
    now = moved(shelf.verdict(cited))
    assert (now.exact, now.paragraph, now.sentences) == (cited.exact, 3, (3,))


# Changed


def test_a_word_changed(shelf: Shelf) -> None:
    cited = shelf.cited(GRIP)
    shelf.edit("Grip fell by half when", "Hold fell by half when")
    shelf.edit("Limpets cling", "All limpets cling")
    verdict = shelf.verdict(cited)
    assert (verdict.status, verdict.similarity) == ("changed", round(22 / 23, 4))
    assert verdict.now is not None
    assert verdict.now.exact == cited.exact.replace("Grip", "Hold")
    assert verdict.now.start == cited.start + len("All ")
    assert (verdict.now.paragraph, verdict.now.sentences) == (2, (1,))
    assert verdict.reason.endswith("the one most like it shares 96% of its words")


@pytest.mark.parametrize("now", ["5.5 mg", "50 mg", "5,000 mg"])
def test_a_number_that_goes_on_is_another_one(now: str) -> None:
    before, after = (
        parse_markdown(f"# Doses\n\n- Dose {n}\n- Dose none\n", source="p.md", sha256=n) for n in ("5", now)
    )
    (sentence,) = sentences_in(before, 9, 17)[:1]
    cited = cite_span(before, sentence.start, sentence.end)
    assert cited.exact.endswith("Dose 5")
    verdict = verify(Claim(cited.exact, cited), Source(after, "", ()))
    assert (verdict.status, verdict.now is not None) == ("changed", True)
    assert verify(Claim(cited.exact, cited), Source(before, "", ())).status == "ok"


def test_one_of_two_sentences_changed(shelf: Shelf) -> None:
    cited = shelf.cited(GRIP, 2)
    text = shelf.edit("kept three quarters of their grip.", "kept nearly all of their strength.")
    verdict = shelf.verdict(cited)
    assert verdict.status == "changed"
    assert verdict.now is not None
    assert verdict.now.exact == text[cited.start : text.index(" No animal")]
    assert verdict.similarity is not None
    assert 0.8 < verdict.similarity < 1


def test_surroundings_decide_between_changed_copies(shelf: Shelf) -> None:
    cited = shelf.cited("The relation was close to linear")
    shelf.edit("The relation was close", "The relation came close")
    other = cited.exact.replace("relation", "ratio")
    shelf.edit("## 2. Methods\n\n", f"## 2. Methods\n\n{other}\n\n")
    verdict = shelf.verdict(cited)
    assert verdict.status == "changed"
    assert verdict.now is not None
    assert "came close" in verdict.now.exact


def test_a_sentence_taken_out(shelf: Shelf) -> None:
    cited = shelf.cited(ROCK)
    shelf.edit(f"{cited.exact} ", "")
    verdict = shelf.verdict(cited)
    assert (verdict.status, verdict.now, verdict.similarity) == ("changed", None, None)
    assert verdict.reason == "the text stands nowhere in the file now, and no other is like it"


def test_a_text_too_long_to_compare(shelf: Shelf) -> None:
    long = replace(shelf.cited(ROCK), exact=" ".join(f"w{n}" for n in range(1001)), source_sha256="")
    verdict = shelf.verdict(long)
    assert (verdict.status, verdict.now) == ("changed", None)
    assert "too long" in verdict.reason


# Citations that are not true


def test_a_forged_text(shelf: Shelf) -> None:
    cited = shelf.cited(GRIP)
    verdict = shelf.verdict(replace(cited, exact=cited.exact.replace("half", "a tenth")))
    assert verdict.status == "changed"
    assert verdict.reason.startswith("the citation is not true to its source: the file is the one cited")
    assert verdict.now is not None
    assert same_place(verdict.now, cited)


def test_forged_offsets(shelf: Shelf) -> None:
    cited = shelf.cited(GRIP)
    verdict = shelf.verdict(replace(cited, start=cited.start + 1, end=cited.end + 1))
    assert (verdict.status, verdict.similarity) == ("changed", 1.0)
    assert verdict.now is not None
    assert same_place(verdict.now, cited)


@pytest.mark.parametrize(
    ("forged", "status", "named"),
    [
        ({"section": ("2. Methods",)}, "moved", "section"),
        ({"section": ()}, "moved", "section"),
        ({"paragraph": 1}, "moved", "paragraph"),
        ({"sentences": (2,)}, "moved", "sentence number"),
        ({"label": "Marsh et al. 2021, §2 Methods, ¶2"}, "moved", "label"),
        ({"title": "Why limpets let go", "year": 1921}, "ok", "title and year"),
        ({"source": "../../limpets.md"}, "ok", "source"),
    ],
)
def test_a_forged_place_or_record(shelf: Shelf, forged: dict[str, Any], status: str, named: str) -> None:
    cited = shelf.cited(GRIP)
    verdict = shelf.verdict(replace(cited, **forged))
    assert verdict.status == status
    assert f"another {named}" in verdict.reason
    assert verdict.now is not None
    assert same_place(verdict.now, cited)


def test_a_quote_that_is_not_its_citation(shelf: Shelf) -> None:
    cited = shelf.cited(GRIP)
    (verdict,) = shelf.library.verify([Claim("Grip doubled.", cited)]).verdicts
    assert (verdict.status, verdict.now) == ("changed", None)
    assert verdict.reason == "the text beside the citation is not the one that it names"


# Files


def test_a_file_that_is_gone(shelf: Shelf) -> None:
    gone, other = shelf.cited(GRIP), shelf.cited("Vinegar at five percent")
    (shelf.papers / "limpets.md").unlink()
    reply = shelf.library.verify([gone, other])
    assert reply.status == "source_missing"
    assert [each.status for each in reply.verdicts] == ["source_missing", "ok"]
    assert reply.verdicts[0].reason == (
        f"{shelf.papers / 'limpets.md'} is gone: put it back, or run `loccit index PATH...` where the file stands now"
    )


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(LIMPETS.encode("utf-16")), "the file is UTF-16"),
        (lambda path: path.write_bytes(b"caf\xe9\n"), "the file is not UTF-8"),
        (lambda path: path.write_bytes(b" \n"), "the file is empty"),
        (lambda path: os.truncate(path, MAX_BYTES + 1), "one paper may have 50"),
        (lambda path: (path.unlink(), path.mkdir()), "is not a file any more"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "is not a file any more"),
        (lambda path: (path.unlink(), path.symlink_to(path)), "is gone"),
    ],
)
def test_a_file_that_cannot_be_read(shelf: Shelf, spoil: Callable[[Path], object], said: str) -> None:
    spoiled, other = shelf.cited(GRIP), shelf.cited("Vinegar at five percent")
    spoil(shelf.papers / "limpets.md")
    verdicts = shelf.library.verify([spoiled, other]).verdicts
    assert [each.status for each in verdicts] == ["source_missing", "ok"]
    assert said in verdicts[0].reason
    assert str(shelf.papers / "limpets.md") in verdicts[0].reason


def test_a_renamed_file(shelf: Shelf) -> None:
    cited = shelf.cited(GRIP)
    (shelf.papers / "limpets.md").rename(shelf.papers / "stone" / "grip.md")
    assert shelf.verdict(cited).status == "source_missing"
    shelf.build()
    verdict = shelf.verdict(cited)
    assert (verdict.status, verdict.reason) == ("ok", "the text stands where it did; the paper has another source now")
    assert verdict.now is not None
    assert (verdict.now.paper_id, verdict.now.source) == ("PMC9000001", "stone/grip.md")


@pytest.mark.parametrize("prune", [False, True])
def test_a_paper_of_another_id_is_known_by_its_bytes(shelf: Shelf, prune: bool) -> None:
    cited = shelf.cited("Vinegar at five percent")
    (shelf.papers / "kettle notes.md").rename(shelf.papers / "descaling.md")
    shelf.build(prune=prune)
    verdict = shelf.verdict(cited)
    assert verdict.status == "ok"
    assert verdict.now is not None
    assert (cited.paper_id, verdict.now.paper_id, verdict.now.source) == ("kettle_notes", "descaling", "descaling.md")
    assert "another paper id and source" in verdict.reason


def test_an_id_from_the_folders_is_kept(corpus: Path, tmp_path: Path) -> None:
    papers = tmp_path / "papers"
    for folder in ("a", "b"):
        (papers / folder).mkdir(parents=True)
        (papers / folder / "kettle.md").write_text(KETTLES.replace("kettle", folder), encoding="utf-8")
    shelf = Shelf(papers, tmp_path / "index")
    cited = replace(shelf.cited("Vinegar at five percent"), source_sha256="")
    shelf.edit("# Notes", "# New notes", f"{cited.source}")
    assert moved(shelf.verdict(cited)).paper_id == cited.paper_id == f"{cited.source[0]}_kettle"
    shelf.library.close()


def test_a_paper_taken_out_of_the_index(shelf: Shelf) -> None:
    cited = shelf.cited(GRIP)
    with IndexWriter(shelf.index, None) as writer:
        writer.remove("PMC9000001")
        writer.commit()
    verdict = shelf.verdict(cited)
    assert verdict.status == "source_missing"
    assert verdict.reason == "no paper 'PMC9000001' in this index: index its file with `loccit index PATH...`"


def test_a_citation_names_no_file(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret.md"
    secret.write_text("The password is limpet.\n", encoding="utf-8")
    (shelf.papers / "link.md").symlink_to(secret)
    read: list[Path] = []
    monkeypatch.setattr("service.verify.sources.read_bytes", lambda path: read.append(path) or path.read_bytes())
    for source in (str(secret), "../secret.md", "link.md"):
        for paper_id in ("PMC9000001", str(secret), "../secret", "link"):
            forged = citation(paper_id=paper_id, source=source, start=0, end=8, exact="The pass")
            assert shelf.verdict(forged).status in ("changed", "source_missing")
    assert set(read) == {shelf.papers / "limpets.md"}


def test_the_index_may_be_written_meanwhile(shelf: Shelf) -> None:
    cited = shelf.cited(GRIP)
    with IndexWriter(shelf.index, None) as writer:
        writer.remove("PMC9000001")
        assert shelf.verdict(cited).status == "ok"


# Reading claims


def test_what_the_library_gives_is_read_again(library: Library) -> None:
    answer, reply = library.ask("How strong is the grip of a limpet?"), library.search(Query("lichens on slate", 4))
    quotes = tuple((each.text, each.citation) for each in answer.quotes)
    hits = tuple((each.text, each.citation) for each in reply.hits)

    def read(value: object) -> tuple[tuple[str, Citation], ...]:
        return tuple((each.text, each.citation) for each in read_claims(json.loads(json.dumps(value))))

    assert quotes
    assert read(asdict(answer)) == quotes
    assert read(asdict(replace(answer, quotes=()))) == tuple((each.text, each.citation) for each in answer.hits)
    assert read(asdict(reply)) == hits
    assert read([asdict(each) for each in reply.hits]) == hits
    assert read([asdict(each.citation) for each in reply.hits]) == hits
    assert read(asdict(reply.hits[0])) == read(asdict(reply.hits[0].citation)) == hits[:1]
    assert {each.status for each in library.verify([*answer.quotes, *reply.hits, hits[0][1]]).verdicts} == {"ok"}


BARE: dict[str, Any] = {"paper_id": "PMC1", "start": 3, "end": 7, "exact": "text"}


def test_what_may_be_left_out() -> None:
    links = {"links": {"doi": "x"}, "references": [{"marker": "[1]", "text": "One."}]}
    (claim,) = read_claims(BARE | links)
    assert claim.text == "text"
    assert (claim.citation.links.doi, claim.citation.links.reader) == ("x", "")
    assert [(each.marker, each.number) for each in claim.citation.references] == [("[1]", "")]
    assert (claim.citation.section, claim.citation.year, claim.citation.prefix) == ((), None, "")
    named = {name: value for name, value in BARE.items() if name != "exact"}
    assert read_claims({"text": "text", "citation": named})[0].citation.exact == "text"


def test_a_bare_citation_is_verified_by_its_text(shelf: Shelf) -> None:
    cited = shelf.cited(GRIP)
    (claim,) = read_claims({name: getattr(cited, name) for name in BARE})
    assert shelf.verdict(claim.citation).reason == "the text stands there"
    shelf.edit("Limpets cling", "All limpets cling")
    assert same_place(moved(shelf.verdict(claim.citation)), moved(shelf.verdict(cited)))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "the input is neither a citation nor an answer"),
        ("PMC1", "the input is neither a citation nor an answer"),
        ([], "there is no citation in it"),
        ({"quotes": [], "hits": []}, "there is no citation in it"),
        ({"hits": {}}, "hits is not a list"),
        ({"hits": [{"rank": 1}]}, "hits[0] has no citation"),
        ({"quotes": [BARE]}, "quotes[0] has no citation"),
        ([[BARE]], "[0] is neither a citation"),
        ([BARE, {"citation": 1}], "[1].citation is not a citation"),
        ({}, "paper_id is missing: a citation needs paper_id, start, end, exact"),
        ([BARE, {**BARE, "colour": 1}], "[1].colour is no field of a citation"),
        ({"quotes": [{"citation": {**BARE, "start": True}}]}, "quotes[0].citation.start: "),
        ({**BARE, "start": 3.0}, "start: "),
        ({**BARE, "start": "3"}, "start: "),
        ({**BARE, "start": None}, "start: "),
        ({**BARE, "start": float("nan")}, "start: "),
        ({**BARE, "start": -1}, "start is -1"),
        ({**BARE, "start": 10**40}, "start is 1000"),
        ({**BARE, "end": 10**40}, "end is 1000"),
        ({**BARE, "end": 3}, "end is 3"),
        ({**BARE, "exact": ""}, "exact is empty"),
        ({**BARE, "exact": " \n"}, "exact is empty"),
        ({**BARE, "exact": 1}, "exact: "),
        ({**BARE, "exact": "\ud800"}, "half of a surrogate pair"),
        ({**BARE, "section": "Results"}, "section: "),
        ({**BARE, "section": [1]}, "section[0]: "),
        ({**BARE, "year": "2021"}, "year: "),
        ({**BARE, "links": []}, "links: "),
        ({**BARE, "links": {"pdf": "x"}}, "links.pdf: "),
        ({**BARE, "references": [1]}, "references[0]: "),
        ({**BARE, "references": [{"marker": 1}]}, "references[0].marker: "),
        ({"text": 1, "citation": BARE}, "text is not text"),
        ([BARE] * (MAX_CLAIMS + 1), "more than 1,000 citations"),
    ],
)
def test_what_is_no_claim(value: object, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        read_claims(value)
    assert str(raised.value).startswith(said) or said in str(raised.value)


def test_nothing_to_verify(library: Library) -> None:
    with pytest.raises(UsageError, match="no citation to verify"):
        library.verify([])


# Properties


def parse(text: str) -> Paper:
    return parse_markdown(text, source="limpets.md", sha256=hashlib.sha256(text.encode()).hexdigest())


_PAPER = parse(LIMPETS)
_SENTENCES = sentences_in(_PAPER, 0, len(LIMPETS))
_PIECES = st.one_of(
    st.text(max_size=40), st.sampled_from([LIMPETS[300:600], "## New\n\n", "<table>", "```\n", "---\n"])
)


@settings(max_examples=200, deadline=None)
@given(
    first=st.integers(0, len(_SENTENCES) - 1),
    n=st.integers(1, 4),
    at=st.floats(0, 1),
    n_deleted=st.integers(0, 80),
    inserted=_PIECES,
    above=st.booleans(),
)
def test_a_text_that_stands_is_found(first: int, n: int, at: float, n_deleted: int, inserted: str, above: bool) -> None:
    named = _SENTENCES[first : first + n]
    start, end = named[0].start, named[-1].end
    cited = cite_span(_PAPER, start, end)
    if above:
        cut = int(at * start)
        text = LIMPETS[:cut] + inserted + LIMPETS[min(start, cut + n_deleted) :]
    else:
        cut = end + int(at * (len(LIMPETS) - end))
        text = LIMPETS[:cut] + inserted + LIMPETS[cut + n_deleted :]
    paper = parse(text)
    verdict = verify(Claim(cited.exact, cited), Source(paper, "", ()))
    assert verdict.status in ("ok", "moved") or "goes on" in verdict.reason
    now = verdict.now or cited
    assert now.exact == cited.exact == text[now.start : now.end]
    assert now.paper_id == paper.paper_id or verdict.now is None


@settings(max_examples=200, deadline=None)
@given(
    text=st.text(
        alphabet=st.characters(codec="utf-8") | st.sampled_from(" \n#*|-[]1.ae\u0301\u00ad\ufeff"), max_size=80
    ),
    data=st.data(),
)
def test_any_span_of_any_text_has_a_verdict(text: str, data: st.DataObject) -> None:
    if not text.strip():
        return
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    exact = text[start:end]
    if not exact.strip():
        return
    paper = parse(text)
    found = cite_span(paper, start, end)
    assert (found.exact, verify(Claim(exact, found), Source(paper, "", ())).status) == (exact, "ok")
    elsewhere = replace(found, exact=data.draw(st.sampled_from([exact.lower(), exact[::-1], " ".join(exact)])))
    verdict = verify(Claim(elsewhere.exact, elsewhere), Source(paper, "", ()))
    if verdict.now is not None:
        assert text[verdict.now.start : verdict.now.end] == verdict.now.exact != ""


@pytest.mark.shared
def test_shared_papers(shared: Path, tmp_path: Path) -> None:
    papers = tmp_path / "papers"
    papers.mkdir()
    files = sorted((shared / "papers/markdown").glob("*.md"))[::30]
    for file in files:
        shutil.copy(file, papers)
    shelf = Shelf(papers, tmp_path / "index")
    ids = [each for paper in shelf.library.papers().papers for each in shelf.library.paper(paper.paper_id).passage_ids]
    views = [shelf.library.passage(each).passage for each in ids[::20]]
    claims = [Claim(view.text, view.citation) for view in views]
    verdicts = shelf.library.verify(claims).verdicts
    assert len(verdicts) > 30
    assert {(each.status, each.now) for each in verdicts} == {("ok", None)}
    inserted = "A paragraph that was not there before.\n\n"
    for file in papers.iterdir():
        text = file.read_bytes().decode()
        at = text.index("\n## ") + 1
        file.write_bytes(f"{text[:at]}{inserted}{text[at:]}".encode())
    verdicts = shelf.library.verify(claims).verdicts
    below = [each for each in verdicts if each.status != "ok"]
    assert len(below) > 0.9 * len(verdicts)  # an abstract may stand above the first of these headings
    for verdict in below:
        now = moved(verdict)
        assert (now.start, now.exact) == (verdict.citation.start + len(inserted), verdict.citation.exact)
        assert (now.section, now.sentences) == (verdict.citation.section, verdict.citation.sentences)
    shelf.library.close()


# Front ends


@pytest.fixture
def edited(loccit: Callable[..., Run], corpus: Path, workdir: Path) -> Path:
    """The papers in `data`, indexed, and an answer about them in `answer.json`."""
    shutil.copytree(corpus, workdir / "data")
    assert loccit("index").code == 0
    run = loccit("ask", "why do limpets lose their grip in warm water?", "-k", "2", "--json")
    (workdir / "answer.json").write_text(run.out, encoding="utf-8")
    return workdir


@pytest.mark.model
def test_the_command(loccit: Callable[..., Run], edited: Path) -> None:
    answer = json.loads((edited / "answer.json").read_text(encoding="utf-8"))
    first = answer["quotes"][0]["citation"]
    run = loccit("verify", "answer.json")
    place = f"{first['label']}, sentences 1, 2, 3 (limpets.md:{first['start']}-{first['end']})"
    assert (run.code, run.out.splitlines()[0], run.err) == (0, f"ok              {place}", "")
    paper = edited / "data" / "limpets.md"
    paper.write_text(LIMPETS.replace("The foot let go", "A paragraph.\n\nThe foot let go"), encoding="utf-8")
    run = loccit("verify", "answer.json")
    now = f"limpets.md:{first['start'] + 14}-{first['end'] + 14}, §3.2. Grip and Temperature, ¶3"
    assert (run.code, run.err) == (1, "")
    assert run.out.splitlines()[:2] == [
        f"moved           {place}; now at {now}",
        "                the text stands elsewhere in the file now",
    ]
    reply = json.loads(loccit("verify", "answer.json", "--json").out)
    assert (reply["status"], reply["verdicts"][0]["status"]) == ("moved", "moved")
    assert reply["verdicts"][0]["citation"] == first
    assert reply["verdicts"][0]["now"]["paragraph"] == 3


@pytest.mark.model
def test_the_command_reads_standard_input(
    loccit: Callable[..., Run], edited: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = (edited / "answer.json").read_bytes()
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(answer)))
    assert loccit("verify", "-") == loccit("verify", "answer.json")
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(answer[:-9])))
    assert "standard input is not JSON: " in loccit("verify", "-").err


@pytest.mark.model
def test_what_the_command_prints_cannot_steer_a_terminal(loccit: Callable[..., Run], edited: Path) -> None:
    forged = {**BARE, "paper_id": "\x1b[2J", "source": "\x1b]0;x\x07", "label": "a\u202eb"}
    (edited / "forged.json").write_text(json.dumps(forged), encoding="utf-8")
    run = loccit("verify", "forged.json")
    assert run.code == 1
    assert run.out.startswith("source missing  a�b (�]0;x�:3-7)\n")
    assert "\x1b" not in run.out


@pytest.mark.model
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        (b"\xff\xfe\xff", "is not JSON: "),
        (b"[" * 100_000, "is not JSON: "),
        (b"9" * 5000, "is not JSON: "),
        (b"{}", "paper_id is missing"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_what_the_command_cannot_read(
    loccit: Callable[..., Run], built: Path, workdir: Path, content: bytes | None, said: str
) -> None:
    if content is not None:
        (workdir / "given.json").write_bytes(content)
    run = loccit("verify", "given.json", "--index", built)
    assert (run.code, run.out) == (2, "")
    assert said in run.err


@pytest.mark.model
def test_the_command_without_an_index(loccit: Callable[..., Run], workdir: Path) -> None:
    (workdir / "given.json").write_text(json.dumps(BARE), encoding="utf-8")
    run = loccit("verify", "given.json")
    assert run.code == 3
    assert "there is no index" in run.err
