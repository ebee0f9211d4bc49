"""Pure codecs, one standard a file. Nothing here waits, reads a clock, draws randomness or opens a file."""
