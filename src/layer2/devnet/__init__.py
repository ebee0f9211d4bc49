"""A local network of the real nodes: btcd, two lnd, and op-geth as BOB."""
