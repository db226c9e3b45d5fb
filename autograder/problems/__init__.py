"""One folder for each problem, with everything that the autograder knows about it."""
