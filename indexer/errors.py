"""The whole error family, one root.

    LoccitError
    ├── UsageError            the request itself is wrong               exit 2, HTTP 422
    │   └── ConfigError       a setting is unknown or does not fit      exit 2, HTTP 500
    ├── NotFoundError         no such paper or passage                  exit 4, HTTP 404
    ├── SourceError           a paper's file cannot be used             exit 1, HTTP 422
    ├── ModelError            a model cannot be used                    exit 1, HTTP 500
    ├── ClusterError          other machines cannot do a build's work   exit 1, HTTP 500
    ├── GenerationError       the model that writes answers wrote none  exit 1, HTTP 502
    ├── AccessError           who asks may not do that                  exit 1, HTTP 403
    │   ├── KeyNeededError        no key came along, or none that counts    exit 1, HTTP 401
    │   └── MisdirectedError      a host is named that is not ours          exit 1, HTTP 421
    ├── OverloadError         more is asked at once than can be done    exit 1, HTTP 503
    │   └── RateError             one client asks too often                 exit 1, HTTP 429
    └── IndexStateError       the index cannot serve                    exit 3, HTTP 503
        ├── IndexMissingError     there is none at that place
        ├── IndexMismatchError    made with another model, schema or configuration
        ├── IndexDamagedError     files are missing, cut short or unreadable
        ├── IndexBusyError        another process is writing            exit 1, HTTP 503
        ├── IndexNotWritableError the folder takes no files             exit 1, HTTP 500
        └── IndexUnreachableError a server that holds it does not answer

Every message says what failed, where, and the next step. Each class carries the command line's exit code and the
service's HTTP status, so that the front ends only look them up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class LoccitError(Exception):
    """Something known went wrong; the message is meant for the user."""

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    slug: ClassVar[str] = "error"
    """The last part of the problem type in HTTP replies."""
    retry_after_s: int | None = None
    """Seconds to wait before asking again; None where nothing is known to change by itself."""


def partly(missing: Sequence[str]) -> str:
    """What to say of servers that did not answer: a clause."""
    return f"{', '.join(missing)} did not take part, and the papers there were not looked at"


def bug_message(error: Exception) -> str:
    """What users are told of an error that is not of this family: its name only, as its text may say too much."""
    return f"{type(error).__name__}: please report this as a bug in loccit, with what the server logged"


class UsageError(LoccitError):
    """The request itself is wrong: an empty query, a `k` out of range, a filter that cannot be read."""

    exit_code = 2
    http_status = 422
    slug = "invalid-request"


class ConfigError(UsageError):
    """A setting is unknown, or its value does not fit."""

    http_status = 500
    slug = "invalid-configuration"


class NotFoundError(LoccitError):
    """No paper or passage has that id."""

    exit_code = 4
    http_status = 404
    slug = "not-found"

    def __init__(self, message: str, missing: Sequence[str] = ()) -> None:
        """`missing`: servers that hold a part of the index, and did not answer."""
        super().__init__(f"{message}; {partly(missing)}" if missing else message)
        self.missing = tuple(missing)


class SourceError(LoccitError):
    """A paper's file is missing, empty, too large, or not UTF-8 text."""

    http_status = 422
    slug = "unusable-source"


class ModelError(LoccitError):
    """A model is missing, is not the one or the kind it should be, or does not load."""

    slug = "model-unavailable"


class ClusterError(LoccitError):
    """A cluster cannot be reached, has lost its machines, or has others than a build's work needs."""

    slug = "cluster-unavailable"


class GenerationError(LoccitError):
    """The model that writes answers cannot be reached, is too slow, or wrote nothing that its sources bear out."""

    http_status = 502
    slug = "generation-failed"


class AccessError(LoccitError):
    """Who asks is known, and may not do that."""

    http_status = 403
    slug = "not-allowed"


class KeyNeededError(AccessError):
    """No key came along, or one that does not count."""

    http_status = 401
    slug = "key-needed"


class MisdirectedError(AccessError):
    """The request names a host that the service does not answer to."""

    http_status = 421
    slug = "misdirected"


class OverloadError(LoccitError):
    """More is asked at once than can be done in time: this request was not begun, or not ended."""

    http_status = 503
    slug = "overloaded"

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RateError(OverloadError):
    """One client asks too often."""

    http_status = 429
    slug = "too-many-requests"


class IndexStateError(LoccitError):
    """The index cannot serve."""

    exit_code = 3
    http_status = 503
    slug = "index-unusable"


class IndexMissingError(IndexStateError):
    """There is no index at that place."""

    slug = "index-missing"


class IndexMismatchError(IndexStateError):
    """The index was made with another model, schema version or configuration."""

    slug = "index-mismatch"


class IndexDamagedError(IndexStateError):
    """A file of the index is missing, cut short or unreadable."""

    slug = "index-damaged"


class IndexBusyError(IndexStateError):
    """Another process is writing to the index."""

    exit_code = 1
    slug = "index-busy"


class IndexNotWritableError(IndexStateError):
    """The index folder takes no files."""

    exit_code = 1
    http_status = 500
    slug = "index-not-writable"


class IndexUnreachableError(IndexStateError):
    """A server that holds the index, or a part of it, does not answer."""

    slug = "index-unreachable"
    retry_after_s = 5
