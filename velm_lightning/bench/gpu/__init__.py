"""Measures training, decoding and reading data on a GPU, with peak memory and growth, in one command of 9 minutes.

One table per part; cases run in the order of their worth, and those for which no time is left are rows "not run". With
``--small`` the same code runs on tiny models, also on a CPU, which takes one to two minutes.

Utilisation (MFU, Chowdhery et al. 2022) is the FLOP/s of a training step, forward and backward, divided by the dense
bf16 peak that the manufacturer publishes for the card, and by the FLOP/s of large matrix products in the same run.
FLOPs are computed by hand formulas, attention included, without halving causal masks; the ratio to the FLOPs that
torch counts is printed next to them.
"""

from velm_lightning.bench.gpu.command import run

__all__ = ["run"]
