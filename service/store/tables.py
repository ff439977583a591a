"""Every table of the store on one metadata: whoever needs them all imports them from here.

Knows the files that have tables and nothing of what is in them. Invariant: importing this makes METADATA complete, and
a file of tables that is not named here is found by the test that holds the metadata against the migrations.
"""

from service.store import holding_schema, jobs_schema, keys_schema, prompts_schema, schema, webhooks_schema

METADATA = schema.METADATA
FILES = (schema, holding_schema, jobs_schema, keys_schema, prompts_schema, webhooks_schema)
