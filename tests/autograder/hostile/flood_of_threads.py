# ruff: noqa
# Starts thousands of threads.
# expect: crashed raised
# seconds: 10
import threading, time


def FUNCTION(*args, **kwargs):
    threading.stack_size(32768)
    for _ in range(2000):
        threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
    time.sleep(0.5)
    return f"got {threading.active_count()} threads"
