"""Selectors: which outputs people should look at first, before anybody is asked. One component a file."""
