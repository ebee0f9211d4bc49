"""Async utilities: blocking twins, waits that an event can end, and requests that several callers share."""
