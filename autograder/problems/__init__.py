"""One folder for each problem, with all that the autograder knows of it."""
