"""Two model folders into a merged one by update-selective merging: compared, streamed, written, recorded."""

from leanthink.merge.plan import Dtype, Job, Plan, Side, make_plan
from leanthink.merge.write import MANIFEST, by_kind, merge

__all__ = ["MANIFEST", "Dtype", "Job", "Plan", "Side", "by_kind", "make_plan", "merge"]
