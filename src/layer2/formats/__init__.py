"""Pure codecs, one standard per module. Nothing here waits, reads a clock, uses randomness or opens a file."""
