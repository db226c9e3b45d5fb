# ruff: noqa
# Opens more files than it may: each thread gets a table of descriptors of its own.
# expect: wrong
import ctypes, os, threading

CLOSE_RANGE_UNSHARE, NOWHERE = 2, 10**6
LIBC = ctypes.CDLL(None, use_errno=True)


def opens(got, all_have):
    if LIBC.syscall(436, NOWHERE, NOWHERE, CLOSE_RANGE_UNSHARE) == 0:
        opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(150)]
        got.append(len(opened))
        all_have.wait()


def FUNCTION(*args, **kwargs):
    got, all_have = [], threading.Barrier(3)
    threads = [threading.Thread(target=opens, args=(got, all_have)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return f"got {sum(got)} files open" if got else -1.0
