"""HTTP sessions, the times in a server's answer, and the settings of all clients with their rules."""
