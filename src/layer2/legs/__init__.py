"""Hash-locked legs: one pure module for each kind, and nothing else that knows kinds apart.

A **leg** is one side of a swap. Its kind answers everything about it that needs no node: what a party offers for it,
its terms and their canonical form, when its deadline has passed on its clock, and how its evidence is checked.
"""
