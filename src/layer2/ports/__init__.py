"""What the core takes from outside, and what an implementer of each guarantees."""
