"""Graders: judge texts for the report; nothing is ever trained on a grade. One component a file."""
