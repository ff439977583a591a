"""What the service itself asks of other machines: pictures by URL, and webhooks."""
