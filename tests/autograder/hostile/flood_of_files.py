# ruff: noqa
# Fills every folder that it can write to.
# expect: wrong
import os


def FUNCTION(*args, **kwargs):
    got = []
    for folder in ("/tmp", "/dev/shm", "/student"):
        try:
            for i in range(80):
                with open(f"{folder}/probe{i}", "wb") as file:
                    file.write(bytes(2**20))
            got.append(folder)
        except OSError:
            pass
        for i in range(80):
            if os.path.exists(f"{folder}/probe{i}"):
                os.unlink(f"{folder}/probe{i}")
    return f"got {got}" if got else -1.0
