"""Keeping an index: looked over, mended, copied away and back, brought up to a newer schema.

`examine` says what is wrong and changes nothing; `mend` sets right what the index's own rows can set right; `backup`
copies an index while it is used, and puts a copy back; `migrate` makes an index of this schema from an older one.
"""

from indexer.upkeep.backup import Backup, back_up, restore
from indexer.upkeep.diagnosis import Diagnosis
from indexer.upkeep.examine import Examination, Finding, examine
from indexer.upkeep.mend import Mended, mend

__all__ = ["Backup", "Diagnosis", "Examination", "Finding", "Mended", "back_up", "examine", "mend", "restore"]
