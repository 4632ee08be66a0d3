"""Keeping an index: looked over, mended, copied away and back, brought up to a newer schema.

`examine` says what is wrong and changes nothing; `mend` sets right what the index's own rows can set right; `backup`
copies an index while it is used, and puts a copy back; `migrate` makes an index of this schema from an older one;
`copy` brings an index to another place or engine, `shards` spreads one over several servers.
"""

from indexer.upkeep.backup import Backup
from indexer.upkeep.copy import Copied, copy
from indexer.upkeep.diagnosis import Diagnosis
from indexer.upkeep.engines import back_up, examine, mend, restore
from indexer.upkeep.findings import Examination, Finding
from indexer.upkeep.mend import Mended
from indexer.upkeep.shards import Shards, add_shard, rebalance, shards_of

__all__ = [
    "Backup",
    "Copied",
    "Diagnosis",
    "Examination",
    "Finding",
    "Mended",
    "Shards",
    "add_shard",
    "back_up",
    "copy",
    "examine",
    "mend",
    "rebalance",
    "restore",
    "shards_of",
]
