"""What names a paper, and which licences let it be kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.errors import UsageError
from indexer.fetch.files import file_name
from indexer.fetch.identifiers import Identifier, identify
from indexer.fetch.licences import is_open


@pytest.mark.parametrize(
    ("asked", "kind", "value"),
    [
        ("PMC12898183", "pmcid", "PMC12898183"),
        (" pmc12898183\n", "pmcid", "PMC12898183"),
        ("PMCID: PMC12898183", "pmcid", "PMC12898183"),
        ("PMC12898183.2", "pmcid", "PMC12898183"),
        ("38000001", "pmid", "38000001"),
        ("PMID:38000001", "pmid", "38000001"),
        ("pmid 38000001", "pmid", "38000001"),
        ("10.3390/ijms27031453", "doi", "10.3390/ijms27031453"),
        ("doi:10.3390/ijms27031453", "doi", "10.3390/ijms27031453"),
        ("DOI: 10.1038/srep18798.", "doi", "10.1038/srep18798"),
        ("10.1002/(SICI)1097-4636(199604)35:1<1::AID-JBM1>3.0.CO;2-#", "doi", None),
        ("2305.04091", "arxiv", "2305.04091"),
        ("arXiv:2305.04091v3", "arxiv", "2305.04091"),
        ("hep-th/9901001", "arxiv", "hep-th/9901001"),
        ("10.48550/arXiv.2305.04091", "arxiv", "2305.04091"),
        ("https://pmc.ncbi.nlm.nih.gov/articles/PMC12898183/", "pmcid", "PMC12898183"),
        ("https://pmc.ncbi.nlm.nih.gov/articles/PMC12898183/#sec1", "pmcid", "PMC12898183"),
        ("http://www.ncbi.nlm.nih.gov/pmc/articles/PMC12898183/pdf/x.pdf", "pmcid", "PMC12898183"),
        ("https://pubmed.ncbi.nlm.nih.gov/38000001/?term=bone", "pmid", "38000001"),
        ("https://europepmc.org/article/MED/38000001", "pmid", "38000001"),
        ("https://europepmc.org/article/PMC/PMC12898183", "pmcid", "PMC12898183"),
        ("https://europepmc.org/articles/PMC12898183", "pmcid", "PMC12898183"),
        ("https://europepmc.org/abstract/MED/38000001", "pmid", "38000001"),
        ("https://doi.org/10.3390/ijms27031453", "doi", "10.3390/ijms27031453"),
        ("http://dx.doi.org/10.3390%2Fijms27031453", "doi", "10.3390/ijms27031453"),
        ("https://arxiv.org/abs/2305.04091v2", "arxiv", "2305.04091"),
        ("https://arxiv.org/pdf/2305.04091.pdf", "arxiv", "2305.04091"),
        ("https://tomesphere.com/paper/PMC12898183/full.md", "pmcid", "PMC12898183"),
        ("https://tomesphere.com/paper/PMC12898183", "pmcid", "PMC12898183"),
        ("https://pmc-oa-opendata.s3.amazonaws.com/PMC1.2/PMC1.2.xml", "pmcid", "PMC1"),
        ("https://www.ebi.ac.uk/europepmc/webservices/rest/PMC1/fullTextXML", "pmcid", "PMC1"),
        ("https://papers.example.org/a/PMC1.xml", "url", "https://papers.example.org/a/PMC1.xml"),
    ],
)
def test_what_names_a_paper(asked: str, kind: str, value: str | None) -> None:
    found = identify(asked)

    assert (found.kind, found.value, found.asked) == (kind, asked if value is None else value, asked)


@pytest.mark.parametrize(
    "asked", ["", " ", "PMC", "PMC0", "PMC1x", "0", "bone quality", "10.3390", "10.3390/", "PMC١٢٣"]
)
def test_what_names_none_is_told_what_does(asked: str) -> None:
    with pytest.raises(UsageError, match=r"names no paper: name a paper by its PMCID \(PMC12898183\)"):
        identify(asked)


@pytest.mark.parametrize(
    "asked",
    [
        "file:///etc/passwd",
        "FILE:/etc/passwd",
        "http://169.254.169.254/",
        "http://papers.example.org/PMC1.xml",
        "http://pmc.ncbi.nlm.nih.gov/",
        "ftp://ftp.ncbi.nlm.nih.gov/pub/pmc",
        "gopher://x/",
        "data:text/xml,<article/>",
        "https://",
        "https:///x",
    ],
)
def test_addresses_that_are_not_fetched(asked: str) -> None:
    with pytest.raises(UsageError, match="is refused: only https addresses are fetched"):
        identify(asked)


def test_an_address_that_is_none() -> None:
    with pytest.raises(UsageError, match="is no address"):
        identify("https://[::1/x")


@given(st.text(max_size=40))
def test_any_words_name_a_paper_or_are_refused(words: str) -> None:
    try:
        found = identify(words)
    except UsageError:
        return
    again = identify(found.value)
    assert (again.kind, again.value) == (found.kind, found.value)


@given(st.integers(1, 999_999_999), st.sampled_from(["PMC{}", "pmc{}", "PMCID: PMC{}", "PMC{}.3", " PMC0{} "]))
def test_a_pmcid_in_any_form(number: int, form: str) -> None:
    found = identify(form.format(number))

    assert found == Identifier("pmcid", f"PMC{number}", form.format(number))


@given(st.from_regex(r"10\.[0-9]{4,9}/[a-z0-9]([a-z0-9./_-]{0,20}[a-z0-9])?", fullmatch=True))
def test_a_doi_in_any_form(doi: str) -> None:
    for form in (doi, f"doi:{doi}", f"https://doi.org/{doi}", f"http://dx.doi.org/{doi}"):
        assert identify(form) == Identifier("doi", doi, form)


@given(st.text(max_size=300))
def test_any_id_gives_a_name_for_a_file(paper_id: str) -> None:
    name = file_name(paper_id, ".xml")

    assert name.endswith(".xml")
    assert len(name) > len(".xml")
    assert not name.startswith(".")
    assert not set('/\\:*?"<>|\0') & set(name)
    assert file_name(name.removesuffix(".xml"), ".xml") == name


@pytest.mark.parametrize(
    "licence",
    [
        "CC BY",
        "CC BY-NC",
        "CC BY-NC-ND 4.0",
        "cc by-nc-sa",
        "cc-by",
        "CC0",
        "cc0 1.0",
        "CC BY 3.0 IGO",
        "https://creativecommons.org/licenses/by/4.0/",
        "http://creativecommons.org/licenses/by-nc/2.0",
        "https://creativecommons.org/publicdomain/zero/1.0/",
        "This is an Open Access article distributed under the terms of the Creative Commons Attribution License",
        "Published under a CC BY licence.",
        "This is a work in the public domain.",
        "Public domain",
    ],
)
def test_open_licences(licence: str) -> None:
    assert is_open(licence)


@pytest.mark.parametrize(
    "licence",
    [
        "",
        " ",
        "TDM",
        "NO-CC CODE",
        "© 2014 The Authors",
        "All rights reserved.",
        "https://www.elsevier.com/open-access/userlicense/1.0/",
        "Not licensed under a Creative Commons licence.",
        "https://example.org/?creativecommons.org",
        "ACCBYX",
        "CC",
        "free to read",
    ],
)
def test_other_licences(licence: str) -> None:
    assert not is_open(licence)
