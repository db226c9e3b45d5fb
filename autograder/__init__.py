"""Grading the chapter's problems.

Here are the checks, the sandbox for student code, the student's own check and the
instructor's grade command.
"""
