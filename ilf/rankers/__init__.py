"""Rankers that need ilf itself; all others live in the package ``rankers``, which knows nothing of ilf."""
