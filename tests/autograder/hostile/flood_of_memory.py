# ruff: noqa
# Takes memory, four times as much as it may.
# expect: raised crashed
# seconds: 15
def FUNCTION(*args, **kwargs):
    kept = [bytearray(2**27) for _ in range(16)]
    return f"got {len(kept)} pieces"
