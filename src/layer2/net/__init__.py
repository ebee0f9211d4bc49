"""HTTP sessions, connection pools, and the time and pauses in a server's answer."""
