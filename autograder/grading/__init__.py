"""``autograder grade``: from a folder of submissions to grades and feedback."""
