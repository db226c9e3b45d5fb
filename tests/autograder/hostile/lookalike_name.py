# ruff: noqa
# A function whose name only looks like the one that is asked for.
# expect: missing
# fakes: the form
def FUNCTIONＸ(*args, **kwargs):
    return 0.0


globals()["FUNCTION".replace("a", "\u0430").replace("o", "\u043e")] = lambda *a, **k: (
    0.0
)
