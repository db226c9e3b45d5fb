"""The scripts that train the models in chapter4/weights.

Run one as ``python -m chapter4.training.tiny_vit``. Each script keeps its data and one
checkpoint per epoch under ~/.cache/chapter4-training. A run that was cut off goes on
from there. With ``--check`` a script trains nothing and measures the shipped weights
again.
"""
