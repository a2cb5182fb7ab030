"""The commands of ``ilf``, one file per group: each adds its parsers (``add``) and has their handlers.

A handler takes the parsed arguments and returns an exit status. Results go to stdout, chatter to stderr.
"""
