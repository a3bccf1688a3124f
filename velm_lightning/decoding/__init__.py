"""From a model's word probabilities to sentences: greedy, beam search, sampling; knows no model, only its steps."""

from velm_lightning.decoding.base import Decoding, Hypothesis, Steps
from velm_lightning.decoding.beam import BeamSearch
from velm_lightning.decoding.flow import Flow
from velm_lightning.decoding.rules import Allowed, PrefixTrie
from velm_lightning.decoding.walk import Greedy, Sampling

__all__ = ["Allowed", "BeamSearch", "Decoding", "Flow", "Greedy", "Hypothesis", "PrefixTrie", "Sampling", "Steps"]
