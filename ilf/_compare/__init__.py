"""Parts of a comparison before it runs: its section, arms as plans, controls, budgets, the fixed plan."""
