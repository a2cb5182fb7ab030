"""Feedback sources: where people's words come from. Each file is one source, named by its file."""
