# ruff: noqa
# Tries whether it may write beside the grader's files, or into the system.
# expect: wrong
import os


def FUNCTION(*args, **kwargs):
    got = []
    for path in (
        "SECRET",
        "/grader/autograder/sandbox/inside/evaluator.py",
        "/etc/passwd",
        "/usr/bin/env",
    ):
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
            got.append(path)
        except OSError:
            pass
    for folder in (
        os.path.dirname("SECRET"),
        "/",
        "/usr",
        "/etc",
        "/dev",
        "/grader",
        "/root",
    ):
        path = folder + "/chapter4-probe"
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            got.append(path)
            os.unlink(path)
        except OSError:
            pass
    return f"got {got}" if got else -1.0
