"""Greedy decoding, beam search, sampling and flow integration; imports no model, only a protocol of its steps."""

from velm_lightning.decoding.base import Decoding, Hypothesis, Steps
from velm_lightning.decoding.beam import BeamSearch
from velm_lightning.decoding.flow import Flow
from velm_lightning.decoding.walk import Greedy, Sampling

__all__ = ["BeamSearch", "Decoding", "Flow", "Greedy", "Hypothesis", "Sampling", "Steps"]
