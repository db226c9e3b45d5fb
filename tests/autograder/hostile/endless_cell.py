# ruff: noqa
# A cell that never ends; the honest function stands above.
# expect: right
# honest: before
while True:
    pass
