# ruff: noqa
# Sends the grader file descriptors of its own through the socket.
# expect: missing
import array, os, socket

for descriptor in range(3, 300):
    try:
        sock = socket.socket(fileno=os.dup(descriptor))
        sock.sendmsg(
            [b"x"],
            [
                (
                    socket.SOL_SOCKET,
                    socket.SCM_RIGHTS,
                    array.array("i", [descriptor] * 10),
                )
            ],
        )
    except OSError:
        pass


def FUNCTION(*args, **kwargs):
    return 0.0
