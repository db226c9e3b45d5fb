# ruff: noqa
# Starts a program.
# expect: raised
import subprocess


def FUNCTION(*args, **kwargs):
    return subprocess.run(["/bin/sh", "-c", "touch SECRET.shell; sleep 3"]).returncode
