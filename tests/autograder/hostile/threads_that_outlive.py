# ruff: noqa
# Leaves threads behind that go on for ever.
# expect: right
# honest: before
import threading, time


def on():
    while True:
        time.sleep(0.01)


for _ in range(5):
    threading.Thread(target=on).start()
