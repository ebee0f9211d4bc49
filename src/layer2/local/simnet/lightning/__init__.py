"""Two simulated Lightning nodes and lnd's REST interface to them."""
