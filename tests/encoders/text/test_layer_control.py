"""The layers of a trunk, and what a control can do to them."""

import copy
import pickle
from functools import partial

import pytest
import torch
from helpers import tiny, trunks

from velm_lightning.encoders.layer_control import LayerControl
from velm_lightning.training.compiling import compile_layers
from velm_lightning.types import InputError, Tokens

ENCODERS = {
    "transformer": tiny.transformer,
    "causal": partial(tiny.transformer, causal=True),
    **{kind: partial(tiny.pretrained_text, kind) for kind in ("bert", "gpt2", "llama")},
}


class Recorded(LayerControl):
    """Records the states before every layer."""

    def __init__(self):
        self.states = []

    def before(self, index, states):
        assert index == len(self.states)
        self.states.append(states)
        return states


class Alone(Recorded):
    """Restricts every token to itself in the first layer, or in all layers."""

    def __init__(self, layers=None):
        super().__init__()
        self.layers = layers

    def visible(self, index, queries, keys):
        return torch.eye(keys.mask.shape[1]).bool()[None] if self.layers is None or index in self.layers else None


class Replaced(LayerControl):
    """Replaces the states before one layer."""

    def __init__(self, index, states):
        self.index, self.states = index, states

    def before(self, index, states):
        return self.states if index == self.index else states


def opened(encoder):
    encoder.build(tiny.vocabulary())
    encoder.open_layers()
    trunks.shake(encoder)
    return encoder.eval()


@pytest.fixture(params=ENCODERS)
def encoder(request):
    return opened(ENCODERS[request.param]())


def tokens(length=4):
    return Tokens.of_image(torch.randn(2, length, tiny.DIM))


@torch.no_grad()
def test_a_control_acts_before_every_layer_in_order(encoder):
    control, given = Recorded(), tokens()
    states = encoder.trunk(given, control=control)
    assert [x.shape for x in control.states] == [given.embeddings.shape] * len(encoder.open_layers())
    assert torch.equal(states.embeddings, encoder.trunk(given).embeddings)


@torch.no_grad()
def test_replaced_states_are_what_a_layer_computes_on(encoder):
    first, second = Recorded(), Recorded()
    expected = encoder.trunk(tokens(), control=first).embeddings
    other = tokens()
    encoder.trunk(other, control=second)
    assert not torch.equal(second.states[1], first.states[1])
    replaced = encoder.trunk(other, control=Replaced(1, first.states[1]))
    assert torch.equal(replaced.embeddings, expected)


@torch.no_grad()
def test_a_control_narrows_the_attention_of_a_layer(encoder):
    given = tokens()
    changed = given.with_embeddings(given.embeddings.clone())
    changed.embeddings[:, 0] = torch.randn(2, tiny.DIM)
    states = [Alone({0}), Alone({0})]
    ends = [encoder.trunk(x, control=c).embeddings for x, c in zip((given, changed), states, strict=True)]
    assert torch.equal(states[0].states[1][:, 1:], states[1].states[1][:, 1:])
    assert not torch.equal(ends[0][:, 1:], ends[1][:, 1:])  # the second layer is not narrowed
    ends = [encoder.trunk(x, control=Alone()).embeddings for x in (given, changed)]
    assert torch.equal(ends[0][:, 1:], ends[1][:, 1:])


@torch.no_grad()
def test_copied_and_pickled_encoders_obey_a_control(encoder):
    given, expected = tokens(), None
    for other in (encoder, copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        control = Alone()
        states = other.trunk(given, control=control).embeddings
        expected = states if expected is None else expected
        assert torch.equal(states, expected)
        assert len(control.states) == len(other.open_layers())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*isinstance")
@pytest.mark.parametrize("kind", ["transformer", "llama"])
@torch.no_grad()
def test_compiled_layers_obey_each_control(kind):
    """The restrictions differ from pass to pass, and the layers are compiled by the first."""
    plain = opened(ENCODERS[kind]())
    compiled = copy.deepcopy(plain)
    compile_layers(compiled, backend="eager")
    for control in (LayerControl, Alone, partial(Alone, {1}), None):
        given = tokens()
        both = [each.trunk(given, control=control and control()).embeddings for each in (plain, compiled)]
        torch.testing.assert_close(both[1], both[0])
    torch._dynamo.reset()


def test_opening_layers_draws_no_random_numbers(encoder):
    state = torch.get_rng_state()
    encoder.train()
    encoder.open_layers()
    assert torch.equal(torch.get_rng_state(), state)
    assert encoder.training


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_recurrent_trunk_is_refused_by_name(cell):
    with pytest.raises(InputError, match="^text_encoder: a RNNTextEncoder has no layers on which a fusion can act: "):
        opened(tiny.recurrent(cell=cell))


def test_a_model_that_shares_one_layer_is_refused_by_name():
    with pytest.raises(InputError, match="^text_encoder: a albert has no layers on which a fusion can act"):
        trunks.built("albert").open_layers()


@pytest.mark.parametrize("kind", ["gemma2", "gemma3_text", "gemma4_text", "qwen3", "modernbert", "gpt_oss", "roberta"])
@torch.no_grad()
def test_layers_of_other_models_can_be_opened(kind):
    encoder = trunks.built(kind)
    control = Recorded()
    layers = encoder.open_layers()
    states = encoder.trunk(encoder.embed(tiny.words(torch.tensor([[5, 6, 7]]))), control=control)
    assert len(control.states) == len(layers) == encoder.config.num_hidden_layers
    assert states.embeddings.isfinite().all()


@pytest.mark.slow
def test_every_accepted_model_type_is_opened_or_refused():
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as MASKED

    opened_kinds, refused = 0, []
    for kind in sorted({*CAUSAL, *MASKED} - {"phi4_multimodal", "luke", "git"}):
        try:
            config = trunks.tiny_config(kind)
            encoder = trunks.built(**{"kind": config.pop("model_type"), **config})
        except Exception:  # an invalid default configuration, or a model that is refused when it is built
            continue
        try:
            encoder.open_layers()
        except InputError as error:
            refused.append(str(error))
        else:
            opened_kinds += 1
    assert all("has no layers on which a fusion can act" in error for error in refused)
    assert opened_kinds > 80
