"""The smallest files of every reader that names one image, as their publishers lay them out."""

import json

from velm_lightning.data import (
    NLVR,
    COCOCaptions,
    DataFiles,
    FlickrTokens,
    JSONLines,
    Karpathy,
    Multi30k,
    VisDial,
    VisualGenome,
    VQAv2,
)

COCO_NAME = "COCO_train2014_000000000007.jpg"


def write(folder, files):
    for name, value in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(value if isinstance(value, str) else json.dumps(value))


def coco(name):
    return {
        "images": [{"id": 7, "file_name": name}],
        "annotations": [{"id": 1, "image_id": 7, "caption": "A dog."}],
    }


def karpathy(name):
    sentence = {"raw": "A dog.", "sentid": 1}
    return {"images": [{"imgid": 7, "filename": name, "split": "train", "sentences": [sentence]}]}


VQA = {
    "v2_OpenEnded_mscoco_train2014_questions.json": {
        "questions": [{"question_id": 1, "image_id": 7, "question": "What?"}]
    },
    "v2_mscoco_train2014_annotations.json": {
        "annotations": [{"question_id": 1, "image_id": 7, "answers": [{"answer": "dog"}] * 10, "answer_type": "other"}]
    },
}
DIALOGUE = {
    "data": {
        "questions": ["is it black"],
        "answers": ["yes"],
        "dialogs": [{"image_id": 7, "caption": "a dog", "dialog": [{"question": 0, "answer": 0}]}],
    }
}
GENOME = [{"id": 7, "qas": [{"qa_id": 1, "image_id": 7, "question": "What?", "answer": "A dog."}]}]
STATEMENT = {"identifier": "1-0", "directory": "5", "sentence": "There is a dog.", "label": "true"}

NAMED = {
    "JSONLines": (JSONLines, {"train": "train.csv"}, lambda name: {"train.csv": f"image,label\n{name},dog\n"}),
    "DataFiles": (DataFiles, {"train": "train.csv"}, lambda name: {"train.csv": f"image,label\n{name},dog\n"}),
    "COCOCaptions": (COCOCaptions, {"train": "a.json"}, lambda name: {"a.json": coco(name)}),
    "Karpathy": (Karpathy, {"file": "a.json"}, lambda name: {"a.json": karpathy(name)}),
    "FlickrTokens": (
        FlickrTokens,
        {"tokens": "a.txt", "train": "train.txt"},
        lambda name: {"a.txt": f"{name}#0\tA dog.\n", "train.txt": f"{name}\n"},
    ),
    "Multi30k": (
        Multi30k,
        {"texts": "{part}.{language}", "lists": "{part}.txt"},
        lambda name: {"train.en": "A dog.\n", "train.de": "Ein Hund.\n", "train.txt": f"{name}\n"},
    ),
}
"""Class, arguments, and the files in which an image has a name that the caller chooses."""

NUMBERED = {
    "VQAv2": (VQAv2, {}, VQA, f"train2014/{COCO_NAME}"),
    "VisDial": (VisDial, {"train": "a.json"}, {"a.json": DIALOGUE}, COCO_NAME),
    "VisualGenome": (VisualGenome, {"val": 0, "test": 0}, {"question_answers.json": GENOME}, "7.jpg"),
    "NLVR": (NLVR, {"orders": 1}, {"train/train.json": STATEMENT}, "train/images/5/train-1-0-0.png"),
}
"""Class, arguments, files, and the name of the image that the class derives from a number."""
