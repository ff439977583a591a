"""Programs to begin from: each is one file, which `python -m client.examples.NAME` runs, and `--help` explains.

Know the client's public names only. Invariant: each one runs in a test, against a server or a sink of its own kind.
"""
