"""What a person reads in a terminal: answers, passages, papers, and how a build or a fetch went.

Results go to stdout, everything else to stderr. What papers say is cleaned of control characters before it is printed;
`put_json` is exact. Knows nothing of commands and settings. rich is imported with the first line that it prints.
"""

from service.printable import clean
from service.terminal.answers import PASSAGE_MARK, show_answer, show_hits, show_statement, show_verdicts
from service.terminal.building import BuildProgress, note_bodies, show_report
from service.terminal.conversation import show_reply
from service.terminal.fetching import FetchProgress, show_fetched
from service.terminal.lines import Complaints, complain, counting, note, note_missing, put_json, put_text, working
from service.terminal.papers import show_evaluations, show_info, show_paper, show_papers, show_passage
from service.terminal.upkeep import show_diagnosis

__all__ = [
    "PASSAGE_MARK",
    "BuildProgress",
    "Complaints",
    "FetchProgress",
    "clean",
    "complain",
    "counting",
    "note",
    "note_bodies",
    "note_missing",
    "put_json",
    "put_text",
    "show_answer",
    "show_diagnosis",
    "show_evaluations",
    "show_fetched",
    "show_hits",
    "show_info",
    "show_paper",
    "show_papers",
    "show_passage",
    "show_reply",
    "show_report",
    "show_statement",
    "show_verdicts",
    "working",
]
