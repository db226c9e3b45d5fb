# ruff: noqa
# Opens more files than it may: those on their way through a socket do not count.
# expect: wrong
import os, socket


def FUNCTION(*args, **kwargs):
    one, other = socket.socketpair()
    got = 0
    for _ in range(4):
        opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(100)]
        try:
            socket.send_fds(one, [b"x"], opened)
            got += 100
        except OSError:
            pass
        for file in opened:
            os.close(file)
    return f"got {got} files open" if got else -1.0
