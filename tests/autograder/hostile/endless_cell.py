# ruff: noqa
# A cell that never ends; the honest function stands above.
# expect: right
# honest: before
# seconds: 0.5
while True:
    pass
