"""Citations -> whether the papers' files still read so. Claims are read, files looked up, texts compared."""

from service.verify.claims import MAX_CLAIMS, Claim, read_claims
from service.verify.compare import Source, verify, worst
from service.verify.sources import Sources, verdict

__all__ = ["MAX_CLAIMS", "Claim", "Source", "Sources", "read_claims", "verdict", "verify", "worst"]
