"""``velm import``: predictions of other systems become run folders that are compared and verified like our own."""

import json
import zipfile

import openpyxl
import pytest
from helpers.run_folders import jpeg, lines
from helpers.run_folders import run as own_run

from velm_lightning.cli.commands import main
from velm_lightning.cli.import_ import formats
from velm_lightning.compare.comparing import compare
from velm_lightning.compare.reading import read_runs

ANSWERS = {"1": ("yes", 1.0), "2": ("a red ball", 0.0), "3": ("2", 1.0)}
TARGETS = {"1": "yes", "2": "a blue ball", "3": "2"}


@pytest.fixture
def add(tmp_path, capsys):
    """Import a file under ``tmp_path`` and return the record and the rows of each run that it made."""

    def added(file, kind, *words, name="ours", seed=0, out="x"):
        known = set((tmp_path / out).glob("*")) if (tmp_path / out).exists() else set()
        command = ["import", file, "--as", kind, "--name", name, "--seed", seed, "--out", tmp_path / out, *words]
        code = main([str(word) for word in command])
        assert code == 0, capsys.readouterr().err
        runs = sorted(set((tmp_path / out).glob("*")) - known)
        records = [json.loads((run / "run.json").read_text()) for run in runs]
        split = next(iter(records[0]["scores"]))
        tables = [(run / "predictions" / f"{split}.jsonl").read_text().splitlines() for run in runs]
        return [(record, [json.loads(line) for line in table]) for record, table in zip(records, tables, strict=True)]

    return added


def refused(capsys, *words):
    assert main([str(word) for word in words]) == 2
    return capsys.readouterr().err


def lmms_samples(answers=None, **more):
    return [
        {
            "doc_id": int(key),
            "doc": {"question": f"question {key}?", "category": "count" if key == "3" else "other", "image_id": 7},
            "target": TARGETS[key],
            "arguments": ["…"],
            "resps": [[f"  {text}"]],
            "filtered_resps": [text],
            "doc_hash": "ab",
            "exact_match": score,
        }
        | more
        for key, (text, score) in (answers or ANSWERS).items()
    ]


def inspect_log(epochs=1):
    samples = [
        {
            "id": key,
            "epoch": epoch,
            "input": [
                {"role": "user", "content": [{"type": "image", "image": "x"}, {"type": "text", "text": "what?"}]}
            ],
            "target": TARGETS[key],
            "output": {"choices": [{"message": {"content": text}}]},
            "scores": {"match": {"value": "C" if score else "I", "answer": None}},
            "metadata": {"category": "other"},
        }
        for epoch in range(1, epochs + 1)
        for key, (text, score) in ANSWERS.items()
    ]
    return {"version": 2, "status": "success", "eval": {"task": "t", "model": "m"}, "samples": samples}


def sheet(path, write_only):
    book = openpyxl.Workbook(write_only=write_only)
    page = book.create_sheet() if write_only else book.active
    page.append(["index", "question", "answer", "prediction", "category", "empty", "hit"])
    for key, (text, score) in ANSWERS.items():
        answer = "['a blue ball', 'ball']" if key == "2" else TARGETS[key]
        page.append([int(key), "what & <why>?", answer, text, "other", None, int(score)])
    book.save(path)
    return path


def written(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def files(folder):
    """One file per format, with the same three answers, and the options that it needs."""
    coco = [{"image_id": int(key), "caption": text} for key, (text, _) in ANSWERS.items()]
    captions = {"annotations": [{"image_id": int(key), "caption": text} for key, text in TARGETS.items()]}
    answers = [{"question_id": int(key), "answer": text} for key, (text, _) in ANSWERS.items()]
    annotations = {
        "annotations": [
            {"question_id": int(key), "image_id": 9, "answer_type": "other", "answers": [{"answer": text}] * 10}
            for key, text in TARGETS.items()
        ]
    }
    questions = {"questions": [{"question_id": int(key), "question": "what?", "image_id": 9} for key in TARGETS]}
    plain = [
        {"key": key, "prediction": text, "references": [TARGETS[key]], "score": score}
        for key, (text, score) in ANSWERS.items()
    ]
    return {
        "lmms-eval": [written(folder / "samples.jsonl", lines(lmms_samples()))],
        "inspect": [written(folder / "log.json", inspect_log())],
        "vlmevalkit": [sheet(folder / "model_result.xlsx", write_only=False)],
        "coco": [written(folder / "coco.json", coco), "--references", written(folder / "captions.json", captions)],
        "vqa": [
            *(written(folder / "vqa.json", answers), "--references", written(folder / "notes.json", annotations)),
            *("--references", written(folder / "questions.json", questions)),
        ],
        "jsonl": [written(folder / "rows.jsonl", lines(plain))],
    }


def test_every_format_has_a_test(tmp_path):
    assert set(files(tmp_path)) == set(formats())


@pytest.mark.parametrize("kind", formats())
def test_answers_of_every_format_are_compared_and_verified(add, tmp_path, kind):
    file, *words = files(tmp_path)[kind]
    ((record, rows),) = add(file, kind, *words, name="Qwen2.5-VL")
    assert [row["prediction"] for row in rows] == [text for text, _ in ANSWERS.values()]
    assert [row["references"][0] for row in rows] == list(TARGETS.values())
    if kind != "coco":
        assert [row["score"] for row in rows] == [score for _, score in ANSWERS.values()]
        assert record["scores"]["test"]["score"] == pytest.approx(2 / 3)
    assert main(["verify", str(tmp_path / "x" / record["id"])]) == 0
    (result,) = compare(*read_runs([tmp_path / "x"])).results
    assert result.method.name == "Qwen2.5-VL"
    assert result.score.value == record["scores"]["test"]["score"]


def test_groups_prompts_and_images_are_those_of_the_file(add, tmp_path):
    made = files(tmp_path)
    ((_, rows),) = add(*made["lmms-eval"][:1], "lmms-eval")
    assert [(row["group"], row["prompt"], row["image"]) for row in rows][2] == ("count", "question 3?", "7")
    ((_, rows),) = add(made["vqa"][0], "vqa", *made["vqa"][1:])
    assert [(row["group"], row["prompt"], row["image"]) for row in rows][0] == ("other", "what?", "9")
    ((_, rows),) = add(*made["inspect"][:1], "inspect")
    assert (rows[0]["prompt"], rows[0]["image"]) == ("what?", "1")


def test_two_systems_on_the_same_samples_are_a_pair(add, tmp_path):
    """Two leaderboards: the logs of two tools, scored by one scorer."""
    made = files(tmp_path)
    for seed in range(3):
        add(made["lmms-eval"][0], "lmms-eval", "--score", "exact", name="A", seed=seed)
        add(made["inspect"][0], "inspect", "--score", "exact", name="B", seed=seed)
    comparison = compare(*read_runs([tmp_path / "x"]))
    (pair,) = comparison.pairs
    assert (pair.difference.seeds, pair.difference.interval.value) == (3, 0.0)
    assert [set(result.groups) for result in comparison.results] == [{"count", "other"}] * 2, "of the first tool"
    assert not comparison.left


def test_scores_of_different_tools_are_not_a_pair(add, tmp_path):
    made = files(tmp_path)
    add(made["lmms-eval"][0], "lmms-eval", name="A")
    add(made["inspect"][0], "inspect", name="B")
    comparison = compare(*read_runs([tmp_path / "x"]))
    assert comparison.pairs == []
    assert "scorers differ" in " ".join(comparison.notes)


def test_every_epoch_of_a_log_is_a_run_of_its_own_seed(add, tmp_path):
    runs = add(written(tmp_path / "log.json", inspect_log(epochs=3)), "inspect", seed=5)
    assert sorted(record["seed"] for record, _ in runs) == [5, 6, 7]


def test_a_zipped_log_is_read(add, tmp_path):
    with zipfile.ZipFile(tmp_path / "log.eval", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", "{}")
        for sample in inspect_log()["samples"]:
            archive.writestr(f"samples/{sample['id']}_epoch_1.json", json.dumps(sample))
    ((_, rows),) = add(tmp_path / "log.eval", "inspect")
    assert [row["score"] for row in rows] == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("write_only", [True, False])
def test_spreadsheets_are_read_with_inline_and_shared_texts(add, tmp_path, write_only):
    ((_, rows),) = add(sheet(tmp_path / "t.xlsx", write_only), "vlmevalkit")
    assert rows[1]["references"] == ["a blue ball", "ball"]
    assert (rows[1]["prompt"], rows[1]["key"]) == ("what & <why>?", "2")


def test_the_likeliest_choice_is_the_prediction(add, tmp_path):
    samples = lmms_samples(filtered_resps=[[-3.5, False], [-0.25, True], [-9.0, False]])
    ((_, rows),) = add(written(tmp_path / "s.jsonl", lines(samples)), "lmms-eval")
    assert {row["prediction"] for row in rows} == {"1"}


def test_one_of_several_figures_is_chosen(add, tmp_path, capsys):
    file = written(tmp_path / "s.jsonl", lines(lmms_samples(relaxed={"score": 0.5, "id": "a"})))
    command = ["import", file, "--as", "lmms-eval", "--name", "A", "--out", tmp_path / "x"]
    assert "exact_match, relaxed; choose one, e.g. --figure exact_match" in refused(capsys, *command)
    ((record, _),) = add(file, "lmms-eval", "--figure", "relaxed")
    assert record["scores"]["test"] == {
        **{"score": 0.5, "relaxed": 0.5, "samples": 3},
        **{name: record["scores"]["test"][name] for name in ("words_used", "mean_length")},
    }


def test_one_of_several_filters_is_chosen(add, tmp_path, capsys):
    samples = [*lmms_samples(filter="strict"), *lmms_samples(filter="flexible", exact_match=1.0)]
    file = written(tmp_path / "s.jsonl", lines(samples))
    assert "--filter" in refused(capsys, "import", file, "--as", "lmms-eval", "--name", "A", "--out", tmp_path / "x")
    ((record, _),) = add(file, "lmms-eval", "--filter", "flexible")
    assert record["scores"]["test"]["score"] == 1.0


# Samples of a run of our own


def answered(folder, change=lambda rows: rows):
    """A run of our own with a recorded task, and a file of another system's answers to its questions."""
    task = {"class_path": "velm_lightning.tasks.classification.Classification", "init_args": {}}
    folder = own_run(folder / "runs", record={"model": {"class_path": "a.B", "init_args": {"task": task}}})
    rows = [json.loads(line) for line in (folder / "predictions" / "test.jsonl").read_text().splitlines()]
    plain = [{"key": row["key"], "prediction": "yes"} for row in rows]
    return folder, written(folder / "other.jsonl", lines(change(plain)))


def test_another_system_is_compared_with_a_run_of_our_own(add, tmp_path):
    ours, file = answered(tmp_path)
    ((record, rows),) = add(file, "jsonl", "--like", ours, name="other", out="y")
    assert record["scores"]["test"]["score"] == 1.0
    assert (rows[0]["references"], rows[0]["group"], rows[0]["image"]) == (["yes"], "count", "000-0")
    comparison = compare(*read_runs([ours, tmp_path / "y"]))
    (pair,) = comparison.pairs
    assert {pair.a.method.name, pair.b.method.name} == {"other", "LateFusion"}
    other = next(result.method.runs[0] for result in comparison.results if result.method.name == "other")
    assert other.thumbnails("test") == comparison.runs[0].thumbnails("test") != {}


def test_answers_to_other_samples_are_refused(tmp_path, capsys):
    ours, file = answered(tmp_path, lambda rows: [*rows[1:], {"key": "none", "prediction": "yes"}])
    error = refused(capsys, "import", file, "--as", "jsonl", "--name", "A", "--like", ours, "--out", tmp_path / "y")
    assert "no prediction for '000-0'" in error


def test_pictures_of_a_folder_are_shown_in_the_gallery(add, tmp_path):
    import base64

    (tmp_path / "pictures").mkdir()
    for key in ANSWERS:
        (tmp_path / "pictures" / f"{key}.jpg").write_bytes(base64.b64decode(jpeg(9)))
    add(files(tmp_path)["jsonl"][0], "jsonl", "--images", tmp_path / "pictures")
    (run,), _ = read_runs([tmp_path / "x"])
    assert set(run.thumbnails("test")) == set(ANSWERS)


def test_scores_need_no_references(add, tmp_path):
    rows = [{"key": key, "prediction": "a", "score": score} for key, score in (("1", 1.0), ("2", 0.0), ("3", 70.0))]
    ((record, _),) = add(written(tmp_path / "rows.jsonl", lines(rows)), "jsonl")
    assert record["scores"]["test"]["score"] == pytest.approx(71 / 3)
    assert "without_references" not in record["scores"]["test"]
    assert main(["verify", str(next((tmp_path / "x").glob("*")))]) == 0
    comparison = compare(*read_runs([tmp_path / "x"]))
    assert comparison.results[0].score.value == pytest.approx(71 / 3)
    assert not any("references" in note for note in comparison.notes)


# Faults


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"key": 1, "prediction": "a", "score": 1}, {"key": "1", "prediction": "b", "score": 1}], "occurs twice"),
        ([{"prediction": "a"}], "has no key"),
        ([{"key": 1, "prediction": "a", "score": "good"}], "score is 'good', expected a number"),
        ([{"key": 1, "prediction": "a"}], "have no score"),
        ([{"key": 1, "prediction": "a", "score": "nan"}], "no sample has a score"),
        ([], "holds no predictions"),
    ],
)
def test_faults_name_the_file_and_the_fix(tmp_path, capsys, rows, message):
    file = written(tmp_path / "rows.jsonl", lines(rows))
    error = refused(capsys, "import", file, "--as", "jsonl", "--name", "A", "--out", tmp_path / "x")
    assert message in error
    assert "rows.jsonl" in error
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"index\tprediction\n1\ta\n"])
def test_a_damaged_spreadsheet_is_refused(tmp_path, capsys, content):
    (tmp_path / "t.xlsx").write_bytes(content)
    command = ["import", tmp_path / "t.xlsx", "--as", "vlmevalkit", "--name", "A", "--out", tmp_path / "x"]
    assert "is not an .xlsx file that can be read" in refused(capsys, *command)


def test_a_log_that_is_half_an_archive_is_refused(tmp_path, capsys):
    (tmp_path / "cut.eval").write_bytes(b"PK\x03\x04 cut \0")
    error = refused(capsys, "import", tmp_path / "cut.eval", "--as", "inspect", "--name", "A", "--out", tmp_path / "x")
    assert "is a damaged zip file: copy it again" in error


def test_a_training_run_without_its_config_is_still_left_out(tmp_path):
    folder = own_run(tmp_path)
    (folder / "config.yaml").unlink()
    _, left = read_runs([tmp_path])
    assert "it has no config.yaml" in left[0].why
