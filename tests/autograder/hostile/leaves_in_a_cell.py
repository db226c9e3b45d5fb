# ruff: noqa
# A cell that ends the process; the honest function stands below.
# expect: right
# honest: after
import os

os._exit(0)
