"""The journal that stores swaps, and the runner that drives them."""
