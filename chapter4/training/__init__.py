"""The scripts that train the models in `chapter4/weights`: run one as `python -m
chapter4.training.tiny_vit`.

Each script keeps its data and one checkpoint per epoch under ~/.cache/chapter4-training
and goes on from there when it was cut off. With --check it trains nothing and measures
the shipped weights again.
"""
