# ruff: noqa
# Makes the machine forget a file that all share, so that all wait for the disk again.
# expect: wrong
import ctypes, mmap, os, sysconfig

RWF_NOWAIT, MADV_PAGEOUT, AHEAD = 8, 21, 2**20
LIBC = ctypes.CDLL(None)


def remembered(file):
    try:
        return os.preadv(file, [bytearray(4096)], 0, RWF_NOWAIT) > 0
    except BlockingIOError:
        return False


def advises(file):
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


def maps(file):
    pages = mmap.mmap(file, 0, mmap.MAP_SHARED, mmap.PROT_READ)
    pages[0]
    pages.madvise(MADV_PAGEOUT)


def FUNCTION(*args, **kwargs):
    got = []
    path = os.path.join(sysconfig.get_path("stdlib"), "turtle.py")  # nobody needs it
    for forgets in (advises, maps):
        file = os.open(path, os.O_RDONLY)
        os.read(file, AHEAD)
        try:
            if remembered(file):
                forgets(file)
                got += [] if remembered(file) else [forgets.__name__]
        except OSError:
            pass
    return f"got it forgotten: it {got}" if got else -1.0
