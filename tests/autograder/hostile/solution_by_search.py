# ruff: noqa
# Walks over all that it can see for something that looks like a solution.
# expect: wrong
import os


def FUNCTION(*args, **kwargs):
    found = []
    for top in (
        "/home",
        "/root",
        "/work",
        "/tmp",
        "/mnt",
        "/srv",
        "/opt",
        "/var",
        "/grader",
        "/media",
    ):
        for folder, _, files in os.walk(top):
            if "site-packages" in folder or "/lib/python" in folder:
                continue
            found += [
                f
                for f in files
                if any(
                    w in f
                    for w in ("solution", "gradebook", "secret", "problem", "checks")
                )
            ]
    return f"got {found}" if found else -1.0
