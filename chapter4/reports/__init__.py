"""Section 4.5 and problem 5: what several methods say together about one input."""
