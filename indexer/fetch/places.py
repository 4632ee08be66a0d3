"""Where the sources are. An address other than the usual one is the user's own, and may be a private one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from indexer.fetch.addresses import Hosts

PMC_URL = "https://pmc-oa-opendata.s3.amazonaws.com"
EUROPEPMC_URL = "https://www.ebi.ac.uk/europepmc/webservices/rest"
TOMESPHERE_URL = "https://tomesphere.com"


@dataclass(frozen=True, slots=True)
class Places:
    """The base addresses of the sources, without a slash at the end."""

    pmc_url: str = PMC_URL
    europepmc_url: str = EUROPEPMC_URL
    tomesphere_url: str = TOMESPHERE_URL

    def hosts(self, also: Iterable[str] = ()) -> Hosts:
        """The hosts that may be asked: the sources', and those that the user names also. Raises UsageError."""
        usual = {field.default for field in fields(self)}
        urls = [getattr(self, field.name) for field in fields(self)]
        return Hosts.of(
            [url for url in urls if url in usual], [url for url in urls if url not in usual], own_hosts=also
        )
