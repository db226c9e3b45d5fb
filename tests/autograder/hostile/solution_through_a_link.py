# ruff: noqa
# Makes a link in its home to the grader's file and reads through it.
# expect: raised
import os


def FUNCTION(*args, **kwargs):
    os.symlink("SECRET", "here")
    return open("here").read()
