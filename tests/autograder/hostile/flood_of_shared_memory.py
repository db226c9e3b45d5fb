# ruff: noqa
# Takes memory in a way that the usual limit does not count.
# expect: raised crashed
# seconds: 15
import mmap


def FUNCTION(*args, **kwargs):
    kept = []
    for _ in range(16):
        kept.append(mmap.mmap(-1, 2**27))
        kept[-1][:: mmap.PAGESIZE] = b"x" * (2**27 // mmap.PAGESIZE)
    return f"got {len(kept)} pieces"
