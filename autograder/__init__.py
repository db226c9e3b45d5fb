"""Grading the chapter's problems: checks, the sandbox for student code, the student's
own check and the instructor's grade command.
"""
