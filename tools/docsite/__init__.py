"""Builds the documentation's site and draws its diagrams."""
