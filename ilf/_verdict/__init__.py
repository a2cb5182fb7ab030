"""What ``ilf.verdict`` is made of: pairs, scores of verdicts, looks before all are in, a judge."""
