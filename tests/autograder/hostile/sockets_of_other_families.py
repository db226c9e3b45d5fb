# ruff: noqa
# Asks for pairs of sockets of all families; for each, the kernel would load its code.
# expect: wrong
import errno, socket


def FUNCTION(*args, **kwargs):
    got = []
    for family in range(2, 46):
        try:
            socket.socketpair(family, socket.SOCK_STREAM)
            got.append(family)
        except OSError as error:
            got += [] if error.errno == errno.EPERM else [family]
    return f"got as far as {got}" if got else -1.0
