# ruff: noqa
# Makes empty files until there is no place for a name.
# expect: wrong
import os


def FUNCTION(*args, **kwargs):
    made, got = [], "got ten thousand files"
    try:
        for i in range(10_000):
            open(f"probe{i}", "w").close()
            made.append(f"probe{i}")
    except OSError:
        got = -1.0
    for name in made:
        os.unlink(name)
    return got
