"""The rules of a swap, pure: no clock, no socket, no randomness, no database."""
