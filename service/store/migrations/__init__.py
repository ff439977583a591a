"""The folder that Alembic reads: a file for each version of the tables in `versions/`, each one step from the last.

It knows nothing of what the store does with them (service/store/migrate.py runs them). Invariants: a version that has
landed is never edited; every step has its way back; a step works on every database that the store runs on.
"""
