"""Clips of moving shapes: correct answers that need several frames and, in one group, their order."""

from collections import Counter, defaultdict

import pytest
import torch
from helpers import tiny

from velm_lightning.data import MultimodalData, ShapeClipCaptions, ShapeClips
from velm_lightning.data.images.store import ImageStore
from velm_lightning.decoding import Greedy
from velm_lightning.encoders import FrameStack
from velm_lightning.fusion import EarlyFusion, InteractiveFusion, LateFusion
from velm_lightning.tasks import Generation
from velm_lightning.types import ImageTransform, InputError

SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def data():
    return ShapeClips(train=200, val=50, test=20, size=16)


def clip_of(data, sample):
    split, index, *_ = sample.key.split("-")
    return data.clip(split, int(index))


def step(clip, place):
    """The movement of a thing, from its places in the first and last frame."""
    first, last = clip.frames[0].things[place], clip.frames[-1].things[place]
    dx, dy = round(3 * (last.x - first.x)), round(3 * (last.y - first.y))
    return {(-1, 0): "moves left", (1, 0): "moves right", (0, -1): "moves up", (0, 1): "moves down", (0, 0): "stays"}[
        dx, dy
    ]


@pytest.mark.parametrize("name", SPLITS)
def test_every_answer_is_right(data, name):
    for sample in data.split(name):
        clip = clip_of(data, sample)
        _, asked, _, _, _, _, *does = sample.text.removesuffix("?").split()
        (place_of_thing,) = [place for place in range(3) if step(clip, place) == " ".join(does[0:])]
        assert sample.references == (getattr(clip.frames[0].things[place_of_thing], asked),), sample
        assert sample.target == {sample.references[0]: 1.0}
        assert sample.group == does[0]


def test_two_things_move_apart_at_one_moment_and_never_meet(data):
    steps = Counter()
    for index in range(200):
        clip = data.clip("train", index)
        assert {step(clip, 0), step(clip, 1)} in ({"moves left", "moves right"}, {"moves up", "moves down"})
        assert step(clip, 2) == "stays"
        cells = {(t.column, t.row) for scene in clip.frames for t in scene.things}
        assert len(cells) == 5
        moment = [clip.frames[0] == scene for scene in clip.frames].index(False)
        assert clip.frames == (clip.frames[0],) * moment + (clip.frames[-1],) * (3 - moment)
        steps[moment] += 1
        assert {len({getattr(t, what) for t in clip.frames[0].things}) for what in ("colour", "shape")} == {3}
    assert min(steps[1], steps[2]) > 60


@pytest.fixture(scope="module")
def drawn():
    """Many clips, which are not rendered."""
    data = ShapeClips(size=16)
    return {
        name: [data.clip(name, index) for index in range(count)] for name, count in (("train", 1500), ("test", 600))
    }


def best_guess(drawn, cue):
    """The share of questions per group whose thing can be guessed from a cue of every thing of the clip.

    The guess is the thing whose cue is most often that of the requested movement in the training split.
    """
    steps, totals = defaultdict(Counter), Counter()
    for clip in drawn["train"]:
        for place in range(3):
            steps[cue(clip, place)][step(clip, place)] += 1
            totals[cue(clip, place)] += 1
    hits = defaultdict(list)
    for clip in drawn["test"]:
        for place in range(3):
            asked, cues = step(clip, place), [cue(clip, other) for other in range(3)]
            likely = [steps[other_cue][asked] / max(1, totals[other_cue]) for other_cue in cues]
            hits[asked.split()[0]].append((likely[place] == max(likely)) / likely.count(max(likely)))
    return {group: sum(group_hits) / len(group_hits) for group, group_hits in hits.items()}


def cell(thing):
    return thing.column, thing.row


@pytest.mark.parametrize("frame", [0, 1, 2])
def test_a_single_frame_does_not_determine_the_answer(drawn, frame):
    """A thing at the edge cannot move further out; a frame has no other cue. Chance is a third."""
    guessed = best_guess(drawn, lambda clip, place: cell(clip.frames[frame].things[place]))
    assert guessed["stays"] < 0.5
    assert guessed["moves"] < 0.65


def test_unordered_frames_determine_only_what_stays(drawn):
    guessed = best_guess(drawn, lambda clip, place: frozenset(cell(scene.things[place]) for scene in clip.frames))
    assert guessed["stays"] == 1
    assert guessed["moves"] < 0.6


def test_frames_in_their_order_determine_the_answer(drawn):
    guessed = best_guess(drawn, lambda clip, place: tuple(cell(scene.things[place]) for scene in clip.frames))
    assert guessed["stays"] == 1
    assert guessed["moves"] > 0.95


def test_the_words_do_not_give_the_answer_away(drawn):
    answers = defaultdict(Counter)
    for clip in drawn["train"]:
        for place, thing in enumerate(clip.frames[0].things):
            answers[step(clip, place), "colour"][thing.colour] += 1
            answers[step(clip, place), "shape"][thing.shape] += 1
    for (_, asked), counted in answers.items():
        assert max(counted.values()) / counted.total() < {"colour": 0.22, "shape": 0.31}[asked]


def content(clip):
    return tuple((t[:3], t.column, t.row) for scene in (clip.frames[0], clip.frames[-1]) for t in scene.things)


def test_no_clip_is_in_two_splits(drawn):
    contents = {name: set(map(content, clips)) for name, clips in drawn.items()}
    assert len(contents["train"]) > 1400
    assert not contents["train"] & contents["test"]


def test_only_what_moves_changes_in_the_image(data):
    frames = data.images("train")[0]  # (T, 3, H, W)
    clip = data.clip("train", 0)
    still = clip.frames[0].things[2]
    x, y = int(still.x * 16), int(still.y * 16)
    assert torch.equal(frames[0, :, y, x], frames[-1, :, y, x])
    assert not torch.equal(frames[0], frames[-1])


def test_same_seed_same_clips_and_batches_are_one_gather(data):
    again = ShapeClips(train=20, val=10, test=5, size=16)
    assert torch.equal(again.images("train"), data.images("train")[:20])
    assert [s.text for s in again.split("val")] == [s.text for s in data.split("val")[:60]]
    store = ImageStore([sample.image for sample in again.split("train")], ImageTransform(16))
    assert torch.equal(store.fetch([0, 6, 7]), again.images("train")[[0, 1, 1]])


def test_one_frame_is_refused():
    with pytest.raises(InputError, match="frames must be at least 2, got 1"):
        ShapeClips(frames=1)


# Captions


@pytest.fixture(scope="module")
def captions():
    return ShapeClipCaptions(train=60, val=20, test=10, size=16)


@pytest.mark.parametrize("name", SPLITS)
def test_captions_say_of_each_thing_what_it_is_and_does(captions, name):
    for sample in captions.split(name):
        clip = clip_of(captions, sample)
        things = clip.frames[0].things
        right = {f"a {t.colour} {t.shape} {step(clip, place)}" for place, t in enumerate(things)}
        assert sample.text == ""
        assert {frozenset(caption.removesuffix(".").split(", ")) for caption in sample.references} == {frozenset(right)}
        assert len(set(sample.references)) == 2
        assert all("stays" in caption.split(", ")[-1] for caption in sample.references)
        assert sample.group == {"l": "sideways", "r": "sideways", "u": "upright", "d": "upright"}[step(clip, 0)[6]]


def test_training_learns_every_caption_and_evaluation_asks_once(captions):
    assert Counter(sample.target for sample in captions.split("train")) == Counter(
        caption for sample in captions.split("train")[::2] for caption in sample.references
    )
    assert [len(captions.split(name)) for name in SPLITS] == [120, 20, 10]
    assert torch.equal(captions.images("val"), ShapeClips(train=60, val=20, test=10, size=16).images("val"))


@pytest.mark.parametrize("kind", [EarlyFusion, InteractiveFusion, LateFusion])
def test_every_fusion_writes_about_clips_as_about_images(captions, kind):
    data = MultimodalData(ShapeClipCaptions(train=8, val=4, test=1, size=16), batch_size=4)
    encoder = FrameStack(frames=3, size=16, widths=(8, 8), dim=12)
    task = Generation(decoding=Greedy(max_length=6))
    model = tiny.fusion(kind, vocabulary=data.vocabulary, image_encoder=encoder, task=task).eval()
    data.connect(model)
    rows = [row for batch in data.val_dataloader() for row in task.predict(model, batch)]
    assert [row.key for row in rows] == [sample.key for sample in data.samples("val")]
    assert all(row.loss > 0 for row in rows)
    assert task.compute_metrics(task.score(rows))["bleu_4"] >= 0
