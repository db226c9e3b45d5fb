# ruff: noqa
# Starts a pool of processes.
# expect: raised timed-out
# seconds: 3
import multiprocessing


def FUNCTION(*args, **kwargs):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(abs, [1, 2])
