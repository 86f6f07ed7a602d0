"""Metrics of accuracy and length, and selection rules, over stored samples: pure functions of plain numbers."""

from leanthink.metrics.accuracy import avg_at_n, maj_at_k, mean_over_subsets, pass_at_k
from leanthink.metrics.answers import Answers, as_judged
from leanthink.metrics.efficiency import (
    Solution,
    accuracy_efficiency_score,
    distinctness,
    length_reduction,
    outcome_efficiency,
    overthinking_frequency,
    process_efficiency,
)
from leanthink.metrics.intervals import Interval, PairedComparison, bootstrap, paired_comparison
from leanthink.metrics.selection import (
    Vote,
    failed_step_fraction,
    length_filtered_vote,
    lowest_failed_step_fraction,
    majority_vote,
    preference_pairs,
    sequential_short_compute,
    short_1_at_k,
    short_m_at_k,
    short_m_vote,
    shortest_correct,
)

__all__ = [
    "Answers",
    "Interval",
    "PairedComparison",
    "Solution",
    "Vote",
    "accuracy_efficiency_score",
    "as_judged",
    "avg_at_n",
    "bootstrap",
    "distinctness",
    "failed_step_fraction",
    "length_filtered_vote",
    "length_reduction",
    "lowest_failed_step_fraction",
    "maj_at_k",
    "majority_vote",
    "mean_over_subsets",
    "outcome_efficiency",
    "overthinking_frequency",
    "paired_comparison",
    "pass_at_k",
    "preference_pairs",
    "process_efficiency",
    "sequential_short_compute",
    "short_1_at_k",
    "short_m_at_k",
    "short_m_vote",
    "shortest_correct",
]
