"""Somebody's own components, named in recipes by their dotted module names."""
