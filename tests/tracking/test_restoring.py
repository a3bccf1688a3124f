"""A checkpoint whose state does not fit the run is refused in one sentence."""

import pytest
import torch
from helpers.resumption import Run

from velm_lightning.tracking.checkpoint_files import AtomicCheckpointIO
from velm_lightning.types import InputError

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(isinstance.treespec|many workers|exists and is not empty|not resumable|will create)",
    "ignore:.*(could not find the monitored key|smaller than the logging interval)",
)
SPOILED = {
    "an optimiser without groups": lambda content: content.update(optimizer_states=[{"state": {}}]),
    "an optimiser of another type": lambda content: content.update(optimizer_states=[7]),
    "moments of another size": lambda content: content["optimizer_states"][0]["state"][0].update(
        exp_avg=torch.zeros(3, 3, 3)
    ),
    "schedules of another type": lambda content: content.update(lr_schedulers=[None]),
    "loops of another type": lambda content: content.update(loops={"fit_loop": 3}),
    "counters that are text": lambda content: content["loops"]["fit_loop"]["epoch_progress"].update(current="x"),
    "callbacks of another type": lambda content: content.update(callbacks=[1]),
    "random states of another type": lambda content: content.update(velm_random=[{"python": 1}]),
    "sums of another type": lambda content: content.update(velm_train_log=[(1,)]),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    Run(folder, max_steps=2)
    return next((folder / "written").glob("*-often-1.ckpt"))


@pytest.mark.parametrize("name", SPOILED)
def test_a_state_that_does_not_fit_is_one_sentence(checkpoint, tmp_path, name):
    content = torch.load(checkpoint, weights_only=True)
    SPOILED[name](content)
    path = tmp_path / "theirs.ckpt"
    AtomicCheckpointIO().save_checkpoint(content, path)
    with pytest.raises(InputError, match=r"theirs\.ckpt: the run cannot be continued from its state") as refused:
        Run(tmp_path / "resumed", path, max_steps=2)
    assert "\n" not in str(refused.value)
