"""One file for each version of the tables, named after its number; `down_revision` says which one it follows.

Run by service/store/migrate.py. Invariants: see the folder above; a step spells its tables out, and imports none of
today's, which go on changing.
"""
