"""Hash-locked legs, with one pure module for each kind. The rules and the engine do not distinguish kinds.

A **leg** is one side of a swap. Its kind defines everything that needs no node: what a party offers for it, its terms
and their canonical form, when its deadline has passed on its clock, and the check of its evidence.
"""
