# ruff: noqa
# Has itself told when others read files that all share.
# expect: wrong
import ctypes, fcntl, os


def FUNCTION(*args, **kwargs):
    got, libc = [], ctypes.CDLL(None)
    folder = os.path.dirname(os.__file__)
    try:
        fcntl.fcntl(os.open(folder, os.O_RDONLY), fcntl.F_NOTIFY, fcntl.DN_ACCESS)
        got.append("a note")
    except OSError:
        pass
    watch = libc.inotify_init1(0)
    if watch >= 0 and libc.inotify_add_watch(watch, folder.encode(), 1) >= 0:
        got.append("a watch")
    return f"got {got}" if got else -1.0
