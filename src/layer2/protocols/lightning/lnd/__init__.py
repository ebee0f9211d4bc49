"""lnd's REST interface: calls, streams, credentials, errors, and typed answers."""
