"""What `ilf forget` looks for: traces of a person in rows and files, and what was made from them."""
