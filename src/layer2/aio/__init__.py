"""Async plumbing: blocking twins, waits that end by an event, and one request for several callers."""
