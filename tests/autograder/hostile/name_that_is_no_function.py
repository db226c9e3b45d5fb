# ruff: noqa
# The asked name holds something that is no function.
# expect: missing
FUNCTION = 42
