"""What real feedback adds: a ranker on real refinements beside the same ranker on what nobody criticised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ilf._findings.contrasts import Contrasts, adjust
from ilf.stats import mean_interval

if TYPE_CHECKING:
    from ilf._compare.terms import Comparison


def worth_table(comparison: Comparison, contrasts: Contrasts) -> list[dict[str, Any]]:
    """Per ranker, and budget, its grade on every source of candidates, and the differences from real ones.

    What feedback adds is a ranker on real refinements minus the same ranker on refinements without feedback.
    Each kind of difference is a family of Holm's.
    """
    rankers, _ = comparison.grid
    roles = comparison.worth
    if "real" not in roles:
        return []
    grades = contrasts.slate.grades()
    table = []
    for budget in comparison.budgets or (None,):
        for ranker in rankers:
            arms = {role: comparison.at(f"{source}_{ranker}", budget) for role, source in roles.items()}
            entry: dict[str, Any] = {"ranker": ranker, "budget": budget}
            entry |= {role: mean_interval(grades[arm]).estimate for role, arm in arms.items()}
            entry |= {
                f"vs_{role}": contrasts.grade(arms["real"], arm, bootstrap=False)
                for role, arm in arms.items()
                if role != "real"
            }
            table.append(entry)
    for role in (role for role in roles if role != "real"):
        adjust([entry[f"vs_{role}"] for entry in table])
    return table
