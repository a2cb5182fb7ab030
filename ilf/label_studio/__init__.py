"""Label Studio: its server, its client, the pages that people see, and what they answered."""
