"""What both parties of a swap sign, and the transfer that a user asks for. Pure."""
