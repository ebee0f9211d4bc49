"""What a layer, an amount and a transaction are. Pure."""
