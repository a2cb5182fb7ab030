"""Parts of a comparison's tables, made from finished steps: grades, costs, contrasts, axes, picks, rows."""
