"""Strategies: ways to learn from rows. Each file is one, read from top to bottom, named by its file."""
