"""Where fetched files came from, kept beside them."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.errors import SourceError
from indexer.papers import Notice
from indexer.provenance import Provenance, keep_provenance, provenance_of, provenance_path, write_source

ONE = Provenance(
    url="https://papers.example.org/PMC1.1/PMC1.1.xml",
    fetched="2026-09-30T12:00:00Z",
    sha256="0" * 64,
    licence="CC BY",
    notices=("retracted",),
    etag='"a1"',
    last_modified="",
)
text = st.text(st.characters(codec="utf-8"))


def test_it_is_kept_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "PMC1.xml"

    assert provenance_of(path) is None
    keep_provenance(path, ONE)

    assert provenance_path(path) == tmp_path / "new" / "PMC1.xml.fetched.json"
    assert provenance_of(path) == ONE
    assert json.loads(provenance_path(path).read_text(encoding="utf-8")) == {**asdict(ONE), "notices": ["retracted"]}
    assert [each.name for each in path.parent.iterdir()] == ["PMC1.xml.fetched.json"]


@given(
    st.builds(Provenance, text, text, text, text, st.lists(st.sampled_from(get_args(Notice))).map(tuple), text, text)
)
def test_what_is_kept_is_read_again(tmp_path_factory: pytest.TempPathFactory, provenance: Provenance) -> None:
    path = tmp_path_factory.mktemp("kept") / "PMC1.md"

    keep_provenance(path, provenance)

    assert provenance_of(path) == provenance


@pytest.mark.parametrize(
    ("kept", "why"),
    [
        (b"", "Expecting value"),
        (b"[]", "it is no JSON object"),
        (b'{"url": ""}', "it has no etag, fetched, last_modified, licence, notices, sha256"),
        (json.dumps({**asdict(ONE), "etag": 7}).encode(), "etag should be text"),
        (json.dumps({**asdict(ONE), "notices": ["dull"]}).encode(), "notices should be a list of retracted,"),
        (json.dumps({**asdict(ONE), "notices": [[]]}).encode(), "notices should be a list of retracted,"),
        (b"\xff\xfe\xfd", "codec can't decode"),
        (b"[" * 99_999, "not what `loccit fetch` wrote"),
        (b" " * 100_001, "it is too long"),
    ],
)
def test_what_is_no_provenance_is_an_error_with_a_next_step(tmp_path: Path, kept: bytes, why: str) -> None:
    path = tmp_path / "PMC1.xml"
    provenance_path(path).write_bytes(kept)

    with pytest.raises(SourceError, match="remove it, and the file counts as your own") as raised:
        provenance_of(path)

    assert why in str(raised.value)
    assert str(provenance_path(path)) in str(raised.value)


def test_a_folder_in_its_place_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "PMC1.xml"
    provenance_path(path).mkdir()

    with pytest.raises(SourceError, match="cannot be read"):
        provenance_of(path)
    with pytest.raises(SourceError, match="cannot be written"):
        keep_provenance(path, ONE)


def test_a_file_is_replaced_whole_and_has_the_usual_rights(tmp_path: Path) -> None:
    path = tmp_path / "PMC1.xml"
    path.write_bytes(b"old")
    rights = path.stat().st_mode

    write_source(path, b"new")

    assert path.read_bytes() == b"new"
    assert path.stat().st_mode == rights
    assert [each.name for each in tmp_path.iterdir()] == ["PMC1.xml"]
