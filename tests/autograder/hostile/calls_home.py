# ruff: noqa
# Sends what it sees to somebody outside.
# expect: wrong
import socket


def FUNCTION(*args, **kwargs):
    sent = []
    for family, address in (
        (socket.AF_INET, ("127.0.0.1", PORT)),
        (socket.AF_INET6, ("::1", PORT)),
        (socket.AF_UNIX, "\0hidden"),
        (40, (2, PORT)),
        (16, (0, 0)),
    ):
        try:
            out = socket.socket(
                family, socket.SOCK_DGRAM if family == 16 else socket.SOCK_STREAM
            )
            out.connect(address)
            sent.append(family)
        except OSError:
            pass
    return f"got {sent}" if sent else -1.0
