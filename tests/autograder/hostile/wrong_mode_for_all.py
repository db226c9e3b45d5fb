# ruff: noqa
# Leaves torch in a state in which nothing has a gradient and every number another type.
# expect: right
# honest: before
import torch

torch.set_grad_enabled(False)
torch.set_default_dtype(torch.float64)
torch.set_num_threads(64)
torch.manual_seed(0)
