# ruff: noqa
# SystemExit in a cell, which ends a plain script with success.
# expect: right
# honest: after
import sys

sys.exit(0)
