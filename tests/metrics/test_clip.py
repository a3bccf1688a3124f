"""CLIPScore and RefCLIPScore on a CLIP of random weights, against the definition written out by hand."""

import pytest
import torch
from helpers import tiny
from transformers import AutoConfig, CLIPImageProcessor, CLIPModel, PreTrainedTokenizerFast

from velm_lightning.metrics import Clip, CLIPScore, clip_score
from velm_lightning.types import InputError

CAPTIONS = ["a red circle", "is there a blue star", "how many red circle left of the square there are blue stars"]
REFERENCES = [["a circle", "a red star"], ["a blue star"], ["the square", "red", "many blue stars"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(18)
    folder = tmp_path_factory.mktemp("clip")
    tiny.saved_clip(folder)
    return folder


@pytest.fixture(scope="module")
def clip(folder):
    return Clip(str(folder), batch_size=2)


@pytest.fixture
def pictures():
    return [tiny.picture(seed) // (1, 3, 40)[seed] for seed in range(3)]  # bright, darker, dark


@torch.no_grad()
def by_hand(folder, pictures):
    """The cosines of each caption with its picture, and with each of its references, one at a time by transformers."""
    model = CLIPModel.from_pretrained(folder).eval()
    words = PreTrainedTokenizerFast.from_pretrained(folder)
    processor = CLIPImageProcessor.from_pretrained(folder, do_resize=False, do_center_crop=False)

    def caption_vector(caption):
        read = words(f"A photo depicts {caption}", truncation=True, max_length=8, return_tensors="pt")
        output = model(pixel_values=torch.zeros(1, 3, 16, 16), **{k: read[k] for k in ("input_ids", "attention_mask")})
        return output.text_embeds[0]

    def picture_vector(picture):
        pixels = processor(picture, return_tensors="pt")["pixel_values"]
        return model(pixel_values=pixels, input_ids=torch.tensor([[1, 2]])).image_embeds[0]

    with_picture = [float(caption_vector(c) @ picture_vector(p)) for c, p in zip(CAPTIONS, pictures, strict=True)]
    with_references = [
        [float(caption_vector(c) @ caption_vector(r)) for r in captions]
        for c, captions in zip(CAPTIONS, REFERENCES, strict=True)
    ]
    return with_picture, with_references


def test_scores_are_those_of_the_definition(folder, clip, pictures):
    with_picture, with_references = by_hand(folder, pictures)
    plain = [2.5 * max(cosine, 0.0) for cosine in with_picture]
    closest = [max(0.0, *cosines) for cosines in with_references]
    harmonic = [2 * a * b / (a + b) if a + b else 0.0 for a, b in zip(plain, closest, strict=True)]
    assert min(with_picture) < 0 < max(with_picture)  # so that both cases are held
    scores = clip_score(pictures, CAPTIONS, clip, REFERENCES)
    assert scores.clip.samples.tolist() == pytest.approx(plain, abs=1e-5)
    assert scores.ref_clip.samples.tolist() == pytest.approx(harmonic, abs=1e-5)
    assert scores.clip.corpus == pytest.approx(sum(plain) / 3, abs=1e-5)
    assert scores.ref_clip.corpus == pytest.approx(sum(harmonic) / 3, abs=1e-5)


def test_a_reference_equal_to_the_caption_scores_highest(clip, pictures):
    scores = clip_score(pictures, CAPTIONS, clip, [[caption, "red"] for caption in CAPTIONS])
    plain = scores.clip.samples
    assert scores.ref_clip.samples.tolist() == pytest.approx((2 * plain / (plain + 1)).tolist(), abs=1e-6)


def test_references_are_optional(clip, pictures):
    scores = clip_score(pictures, CAPTIONS, clip)
    assert scores.ref_clip is None
    assert scores.clip.samples.tolist() == clip_score(pictures, CAPTIONS, clip, REFERENCES).clip.samples.tolist()


def test_the_metric_equals_the_function_in_any_batches(clip, pictures):
    whole = clip_score(pictures, CAPTIONS, clip, REFERENCES)
    metric = CLIPScore(clip)
    metric.update(pictures[1:], CAPTIONS[1:], REFERENCES[1:])
    metric.update(pictures[:1], CAPTIONS[:1], REFERENCES[:1])
    figures = metric.compute()
    assert float(figures["CLIPScore"]) == pytest.approx(whole.clip.corpus, abs=1e-6)
    assert float(figures["RefCLIPScore"]) == pytest.approx(whole.ref_clip.corpus, abs=1e-6)
    metric.reset()
    metric.update(pictures, CAPTIONS)
    assert list(metric.compute()) == ["CLIPScore"]


def test_mismatched_arguments_are_refused(clip, pictures, tmp_path):
    with pytest.raises(InputError, match="2 captions for 3 pictures"):
        clip_score(pictures, CAPTIONS[:2], clip)
    with pytest.raises(InputError, match="at least one caption"):
        clip_score(pictures, CAPTIONS, clip, [["a"], [], ["b"]])
    with pytest.raises(InputError, match="no captions"):
        clip_score([], [], clip)
    metric = CLIPScore(clip)
    metric.update(pictures, CAPTIONS)
    metric.update(pictures, CAPTIONS, REFERENCES)
    with pytest.raises(InputError, match="give references for all or for none"):
        metric.compute()
    AutoConfig.for_model(**tiny.TEXT_CONFIGS["bert"]).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="is a bert, not a CLIP model"):
        Clip(str(tmp_path))
