"""Parts of the pages: numbers as text, sentences, scales, and the templates that share one style."""
