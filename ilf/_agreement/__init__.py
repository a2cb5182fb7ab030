"""What `ilf agreement` and `settle` share: answers, how far apart they are, who is able, what it cost."""
