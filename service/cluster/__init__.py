"""The service on Ray: workers as actors, one on each GPU, API processes as replicas of Ray Serve, and who is where.

The only room that knows Ray. It knows the API's worker client, the supervisor of one worker and the store; nothing of
what is on the wire. Invariant: worker and API are the same programs as on one machine; what is here carries their
messages and counts them.
"""
