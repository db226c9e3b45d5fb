# ruff: noqa
# Asks for its rights back and for higher limits.
# expect: wrong
import os, resource


def FUNCTION(*args, **kwargs):
    got = []

    def raised():
        for what in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_NOFILE):
            resource.setrlimit(what, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    for ask in (
        lambda: os.setuid(0),
        lambda: os.setgroups([0]),
        raised,
        lambda: os.nice(-10),
        lambda: (os.mknod("null", 0o20600, os.makedev(1, 3)), os.unlink("null")),
    ):
        try:
            ask()
            got.append(ask.__code__.co_names)
        except (OSError, ValueError):
            pass
    return f"got {got}" if got else -1.0
