"""What `ilf assist` is made of: its server, the model at work, its place in a project, finding the rows."""
