"""Batch jobs over REST: `/v1/videos`, `/v1/batches` and webhooks, in the shape that client libraries know."""
