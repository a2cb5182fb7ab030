"""Strategies: ways to learn from rows. Each file is one strategy, read from top to bottom, named by its file."""
