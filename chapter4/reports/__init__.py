"""Section 4.5 and problem 5: several methods on one input, and what they say together."""
