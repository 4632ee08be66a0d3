"""The tables of an index, as SQLite takes them. Other engines have the same ones, see their `schema`."""

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE commits (generation INTEGER PRIMARY KEY, token TEXT NOT NULL);
CREATE TABLE papers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    paper_id TEXT NOT NULL UNIQUE,
    source TEXT NOT NULL,
    origin TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    title TEXT NOT NULL,
    authors TEXT NOT NULL,
    pmcid TEXT NOT NULL,
    doi TEXT NOT NULL,
    pmid TEXT NOT NULL,
    journal TEXT NOT NULL,
    date TEXT NOT NULL,
    year INTEGER,
    licence TEXT NOT NULL,
    url TEXT NOT NULL,
    body_omitted TEXT NOT NULL,
    format TEXT NOT NULL,
    notices TEXT NOT NULL,
    sections TEXT NOT NULL,
    entities TEXT NOT NULL,
    kept TEXT NOT NULL,
    left_out TEXT NOT NULL,
    title_terms TEXT NOT NULL
);
CREATE TABLE kept_texts (
    paper INTEGER PRIMARY KEY REFERENCES papers (id) ON DELETE CASCADE,
    text BLOB NOT NULL
);
CREATE INDEX papers_origin ON papers (origin);
CREATE INDEX papers_title ON papers (lower(title), paper_id);
CREATE INDEX papers_year ON papers (-coalesce(year, 0), paper_id);
CREATE INDEX papers_journal ON papers (lower(journal), paper_id);
CREATE TABLE reference_entries (
    paper INTEGER NOT NULL REFERENCES papers (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    key TEXT NOT NULL,
    text TEXT NOT NULL,
    doi TEXT NOT NULL,
    pmid TEXT NOT NULL,
    start INTEGER NOT NULL,
    end INTEGER NOT NULL,
    PRIMARY KEY (paper, number)
) WITHOUT ROWID;
CREATE TABLE passages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    paper INTEGER NOT NULL REFERENCES papers (id) ON DELETE CASCADE,
    passage_id TEXT NOT NULL UNIQUE,
    ordinal INTEGER NOT NULL,
    start INTEGER NOT NULL,
    end INTEGER NOT NULL,
    text TEXT NOT NULL,
    kind TEXT NOT NULL,
    role TEXT NOT NULL,
    section TEXT NOT NULL,
    section_number TEXT NOT NULL,
    section_numbers TEXT NOT NULL,
    sentences TEXT NOT NULL,
    markers TEXT NOT NULL,
    embedded_text TEXT NOT NULL,
    n_wordpieces INTEGER NOT NULL,
    n_tokens INTEGER NOT NULL,
    heading_terms TEXT NOT NULL,
    terms TEXT NOT NULL
);
CREATE UNIQUE INDEX passages_paper ON passages (paper, ordinal);
CREATE TABLE vectors (
    id INTEGER PRIMARY KEY REFERENCES passages (id) ON DELETE CASCADE,
    vector BLOB NOT NULL,
    sentences BLOB NOT NULL,
    words BLOB NOT NULL
);
CREATE TABLE abbreviations (
    paper INTEGER NOT NULL REFERENCES papers (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    short TEXT NOT NULL,
    long TEXT NOT NULL,
    short_start INTEGER NOT NULL,
    short_end INTEGER NOT NULL,
    long_start INTEGER NOT NULL,
    long_end INTEGER NOT NULL,
    short_terms TEXT NOT NULL,
    long_terms TEXT NOT NULL,
    PRIMARY KEY (paper, number)
) WITHOUT ROWID;
CREATE INDEX abbreviations_short ON abbreviations (short_terms, long_terms);
CREATE INDEX abbreviations_long ON abbreviations (long_terms, short_terms);
CREATE TABLE aliases (
    paper INTEGER NOT NULL REFERENCES papers (id) ON DELETE CASCADE,
    thing INTEGER NOT NULL,
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    identifier TEXT NOT NULL,
    name_terms TEXT NOT NULL,
    PRIMARY KEY (paper, thing, number)
) WITHOUT ROWID;
CREATE INDEX aliases_name ON aliases (name_terms);
CREATE VIEW passage_terms AS
    SELECT passages.id AS id, papers.title_terms AS title, passages.heading_terms AS headings, passages.terms AS body
    FROM passages JOIN papers ON papers.id = passages.paper;
CREATE TABLE segments (id INTEGER PRIMARY KEY, passages BLOB NOT NULL);
CREATE TABLE postings (
    segment INTEGER NOT NULL,
    term TEXT NOT NULL,
    postings BLOB NOT NULL,
    PRIMARY KEY (segment, term)
) WITHOUT ROWID;
CREATE TABLE removed_rows (id INTEGER PRIMARY KEY);
CREATE TABLE files (
    id INTEGER PRIMARY KEY,
    origin TEXT NOT NULL UNIQUE,
    source TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    provenance TEXT NOT NULL,
    paper_id TEXT NOT NULL,
    is_searched INTEGER NOT NULL,
    own_id TEXT NOT NULL,
    title TEXT NOT NULL,
    pmcid TEXT NOT NULL,
    doi TEXT NOT NULL,
    pmid TEXT NOT NULL,
    date TEXT NOT NULL,
    format TEXT NOT NULL,
    notices TEXT NOT NULL,
    standing TEXT NOT NULL,
    n_words INTEGER NOT NULL,
    signature BLOB NOT NULL,
    why TEXT NOT NULL
);
CREATE INDEX files_paper ON files (paper_id);
CREATE INDEX files_own_id ON files (own_id);
CREATE INDEX files_sha256 ON files (sha256);
CREATE INDEX files_pmcid ON files (pmcid) WHERE pmcid <> '';
CREATE INDEX files_doi ON files (doi) WHERE doi <> '';
CREATE INDEX files_pmid ON files (pmid) WHERE pmid <> '';
CREATE TABLE likenesses (band INTEGER NOT NULL, file INTEGER NOT NULL, PRIMARY KEY (band, file)) WITHOUT ROWID;
CREATE TABLE failures (origin TEXT PRIMARY KEY, source TEXT NOT NULL, reason TEXT NOT NULL);
"""
