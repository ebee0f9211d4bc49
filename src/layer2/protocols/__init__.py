"""One client per layer, each reached through the party's own node. They know nothing of each other."""
