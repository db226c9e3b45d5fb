# ruff: noqa
# Becomes another program.
# expect: raised
import os


def FUNCTION(*args, **kwargs):
    os.execv("/usr/bin/env", ["env"])
