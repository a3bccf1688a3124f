"""Write run folders like those of finished runs, from figures with known true values."""

import base64
import io
import json
import zlib
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

ROOT = Path(__file__).parents[2]
IMAGES, QUESTIONS = 40, 4
HOSTILE = '</script><img src=x onerror="document.title=1">&<b>'


def config(fusion="LateFusion", seed=0, **changes):
    """A nested config; a dotted key of ``changes`` is written with ``__`` for its dots."""
    content = {
        "seed_everything": seed,
        "model": {"class_path": f"velm_lightning.fusion.{fusion}", "init_args": {"task": {"dropout": 0.0}}},
        "data": {"batch_size": 64, "num_workers": 0},
        "tracking": {"experiment": "made", "tags": []},
        "trainer": {"max_epochs": 2},
    }
    for key, value in changes.items():
        *above, last = key.split("__")
        place = content
        for word in above:
            place = place.setdefault(word, {})
        place[last] = value
    return content


def number(text):
    return zlib.crc32(text.encode())


def rows(right, seed, images=IMAGES):
    """Rows of questions of two groups about ``images`` images; about ``right`` of them are answered correctly."""
    rng = np.random.default_rng(seed)
    hard = np.random.default_rng(99).random((images, QUESTIONS))  # a hard sample is hard for every run
    predictions = []
    for image in range(images):
        for place in range(QUESTIONS):
            good = 0.7 * hard[image, place] + 0.3 * rng.random() < right
            predictions.append(
                {
                    "key": f"{image:03d}-{place}",
                    "group": ("count", "colour")[place % 2],
                    "prompt": HOSTILE if (image, place) == (0, 0) else f"question {place} of picture {image}",
                    "prediction": "yes" if good else "no",
                    "references": ["yes"],
                    "score": float(good),
                    "confidence": 0.75,
                    "loss": 0.5,
                    "image": f"{image:03d}-0",
                }
            )
    return predictions


def jpeg(shade, side=16, noise=False):
    """An image of one colour, or one as hard to compress as a photo."""
    file = io.BytesIO()
    image = Image.new("RGB", (side, side), (shade, 100, 200))
    if noise:
        random = np.random.default_rng(shade).integers(0, 255, (side // 4, side // 4, 3), np.uint8)
        image = Image.fromarray(random).resize((side, side))
    image.save(file, "JPEG", quality=80)
    return base64.b64encode(file.getvalue()).decode()


def lines(items):
    return "".join(json.dumps(item) + "\n" for item in items)


def run(folder, fusion="LateFusion", seed=0, right=0.6, record=None, images=IMAGES, **changes):
    """Write one run into ``folder / <id>`` and return its folder."""
    ident = f"{fusion.lower()}-s{seed}-{number(str((changes, right))):08x}"
    run_folder = folder / ident
    (run_folder / "predictions").mkdir(parents=True)
    (run_folder / "config.yaml").write_text(yaml.safe_dump(config(fusion, seed, **changes)))
    scores = {}
    for split, offset in (("val", 0), ("test", 1000)):
        table = rows(right, number(f"{fusion}{changes}") + seed + offset, images)
        (run_folder / "predictions" / f"{split}.jsonl").write_text(lines(table))
        images_as_jpeg = [{"image": f"{image:03d}-0", "jpeg": jpeg(image)} for image in range(0, images, 4)]
        (run_folder / "predictions" / f"{split}.pictures.jsonl").write_text(lines(images_as_jpeg))
        score = sum(row["score"] for row in table) / len(table)
        scores[split] = {"score": score, "accuracy": score, "loss": 0.5, "samples": len(table)}
    whole = {
        "id": ident,
        "status": "finished",
        "started": "2026-01-01T00:00:00+00:00",
        "seed": seed,
        "modalities": {"TextOnly": ["text"], "ImageOnly": ["image"]}.get(fusion, ["image", "text"]),
        "data": {"train": "aa", "val": "bb", "test": "cc"},
        "signature": "exact match",
        "scores": scores,
        "steps": 40,
        "parameters": 1_000_000 + len(fusion) * 1000,
        "training_flops_per_sample": 6_000_000 * len(fusion),
        "inference_flops_per_sample": 2_000_000 * len(fusion),
        "samples_per_second": 500.0,
        "peak_memory_mib": 900,
        "device_minutes": 3.5,
    }
    (run_folder / "run.json").write_text(json.dumps(whole | (record or {})))
    curve = [f"{step},{1 / step},{right - 1 / step if step % 20 == 0 else ''}" for step in range(10, 41, 10)]
    (run_folder / "metrics.csv").write_text("\n".join(["step,train/loss,val/score", *curve]) + "\n")
    return run_folder


def fusions(folder, seeds=3):
    """Two fusions and a control, ``seeds`` seeds each."""
    for seed in range(seeds):
        for fusion, right in (("InteractiveFusion", 0.75), ("LateFusion", 0.5), ("TextOnly", 0.5)):
            run(folder, fusion, seed, right)
    return folder
