# ruff: noqa
# Sends the grader file descriptors of its own through the socket.
# expect: wrong
import array, os, socket

got = []
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
        got.append(descriptor)
    except OSError:
        pass


def FUNCTION(*args, **kwargs):
    return f"got {got} through" if got else -1.0
