"""Generators: models that write texts. Each file is one generator, named in a recipe by its file."""
