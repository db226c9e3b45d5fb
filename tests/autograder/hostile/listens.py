# ruff: noqa
# Opens a port for somebody outside.
# expect: raised
import socket


def FUNCTION(*args, **kwargs):
    server = socket.socket()
    server.bind(("0.0.0.0", 0))
    server.listen()
    return server.getsockname()
