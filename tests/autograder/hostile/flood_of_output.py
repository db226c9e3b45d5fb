# ruff: noqa
# Prints without measure, through Python and around it.
# expect: right
# honest: before
import os, sys

for _ in range(20):
    print("x" * 10**6)
    print("y" * 10**6, file=sys.stderr)
    for descriptor in (1, 2):
        os.write(descriptor, b"z" * 10**6)
print("10/10 points PASSED")
