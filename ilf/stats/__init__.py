"""Honest intervals: prompts and seeds are both samples, and what cannot be known is None with a reason."""

from ilf.stats._student import t_quantile, t_two_sided_p
from ilf.stats.components import Cells, MeanSquare, complete_prompts, mean_squares, pooled_arm_by_seed
from ilf.stats.families import equivalent, holm, letters, p_matrix, pairwise_p, tied_groups
from ilf.stats.intervals import (
    ONE_SEED,
    Interval,
    cluster_bootstrap,
    mean_interval,
    minimum_detectable_effect,
    paired_interval,
    wilson_interval,
)
from ilf.stats.judges import FEWEST_HUMAN, JudgeCard, judge_card, prediction_powered_mean
from ilf.stats.orders import kendall_tau_b
from ilf.stats.power import Spread, power, prompts_needed, smallest_effect, spread_of
from ilf.stats.preferences import Strengths, Verdicts, bradley_terry
from ilf.stats.sequential import FIRST_LOOK, confidence_sequence, verdict_allowed
from ilf.stats.win_rates import cluster_share, length_controlled, win_rates

__all__ = [
    "FEWEST_HUMAN",
    "FIRST_LOOK",
    "ONE_SEED",
    "Cells",
    "Interval",
    "JudgeCard",
    "MeanSquare",
    "Spread",
    "Strengths",
    "Verdicts",
    "bradley_terry",
    "cluster_bootstrap",
    "cluster_share",
    "complete_prompts",
    "confidence_sequence",
    "equivalent",
    "holm",
    "judge_card",
    "kendall_tau_b",
    "length_controlled",
    "letters",
    "mean_interval",
    "mean_squares",
    "minimum_detectable_effect",
    "p_matrix",
    "paired_interval",
    "pairwise_p",
    "pooled_arm_by_seed",
    "power",
    "prediction_powered_mean",
    "prompts_needed",
    "smallest_effect",
    "spread_of",
    "t_quantile",
    "t_two_sided_p",
    "tied_groups",
    "verdict_allowed",
    "wilson_interval",
    "win_rates",
]
