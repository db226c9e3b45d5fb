# ruff: noqa
# Takes memory of the kernel's that no limit counts.
# expect: wrong
import ctypes, fcntl, os, socket, struct

LIBC = ctypes.CDLL(None, use_errno=True)
F_OFD_GETLK, F_OFD_SETLK = 36, 37


def pipes_of_a_megabyte():
    return fcntl.fcntl(os.pipe()[1], fcntl.F_SETPIPE_SZ, 2**20) >= 2**20


def wide_sockets():
    one, _ = socket.socketpair()
    before = one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
    return one.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) > before


def locks():
    file, other = open("locks", "w"), open("locks", "w")
    for byte in range(0, 2000, 2):
        fcntl.lockf(file, fcntl.LOCK_EX, 1, byte)
    asked = struct.pack("hhqqi", fcntl.F_WRLCK, 0, 1998, 1, 0)
    return struct.unpack_from("h", fcntl.fcntl(other, F_OFD_GETLK, asked))[0] != 2


def locks_of_open_files():
    lock = struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 1, 0)
    fcntl.fcntl(open("locks", "w"), F_OFD_SETLK, lock)
    return True


def clocks():
    return LIBC.timer_create(1, None, ctypes.byref(ctypes.c_long())) == 0


def requests_under_way():
    return LIBC.syscall(206, 1000, ctypes.byref(ctypes.c_long())) == 0  # io_setup


def FUNCTION(*args, **kwargs):
    got = []
    for takes in (
        pipes_of_a_megabyte,
        wide_sockets,
        locks,
        locks_of_open_files,
        clocks,
        requests_under_way,
    ):
        try:
            got += [takes.__name__] if takes() else []
        except OSError:
            pass
    return f"got {got}" if got else -1.0
