"""``velm data show`` prints the tokens of a sample, their blocks, and which are learned."""

import json

import pytest
from helpers import tiny
from helpers.command_line import CONF

from velm_lightning.cli.data import main
from velm_lightning.types import InputError

TALK = [
    {"role": "user", "content": "<image>\nWhat is it?"},
    {"role": "assistant", "content": "A cat."},
    {"role": "user", "content": "And here? <image>"},
    {"role": "assistant", "content": "Two dogs."},
]


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    row = {"id": "talk", "messages": TALK, "images": ["a.png", "b.png"]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    data = "dataset:\n  class_path: Conversations\n  init_args: {train: rows.jsonl, val: rows.jsonl}\n"
    data += "tokenizer:\n  class_path: TrainedTokenizer\n  init_args: {kind: word}\n"
    (tmp_path / "data.yaml").write_text(data)


def shown(capsys, *words):
    assert main(["data", "show", *map(str, words)]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_conversation_is_shown_run_by_run(capsys):
    head, *lines = shown(capsys, "data.yaml", "--sample", "talk")
    assert head.startswith("train, sample talk: 18 tokens, tokeniser: whole words")
    assert lines == [
        "block 0        not learned  [CLS]",
        "block 0        image        image a.png",
        "block 0        not learned  What|is|it|?|[SEP]",
        "blocks 1 to 4  learned      A|cat|.|[SEP]",
        "block 5        not learned  And|here|?",
        "block 5        image        image b.png",
        "block 5        not learned  [SEP]",
        "blocks 6 to 9  learned      Two|dogs|.|[SEP]",
    ]


def test_the_history_of_an_evaluated_reply_is_not_learned(capsys):
    lines = shown(capsys, "data.yaml", "--sample", 1, "--split", "val")
    assert sum("  learned" in line for line in lines) == 1
    assert any(line.split("  ")[0] == "blocks 1 to 4" and "not learned" in line for line in lines)


def test_an_ordinary_sample_is_one_prompt_and_one_target(capsys):
    lines = shown(capsys, CONF / "captioning.yaml", "--data.dataset.init_args.train=4")[1:]
    assert [line.split("  ")[0].split()[0] for line in lines] == ["block", "block", "blocks"]
    assert lines[0].split("  ")[-1].startswith("image (3, ")
    assert lines[1].endswith("[CLS]|[SEP]")
    assert " learned " in lines[2]


def test_a_terminal_gets_colours(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert any("\x1b[1;32m" in line for line in shown(capsys, "data.yaml"))


def test_a_pretrained_text_encoder_brings_its_tokeniser_and_template(capsys, tmp_path):
    from transformers import AutoConfig, PreTrainedTokenizerFast

    template = "{% for m in messages %}[CLS]{{ m.role }}: {{ m.content }}[SEP]{% endfor %}"
    names = {"bos_token": "[CLS]", "eos_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tiny.vocabulary().tokenizer, chat_template=template, **names)
    tokenizer.save_pretrained(tmp_path / "gpt2")
    AutoConfig.for_model("gpt2").save_pretrained(tmp_path / "gpt2")
    encoder = f"text_encoder: {{class_path: HFTextEncoder, init_args: {{name: {tmp_path / 'gpt2'}}}}}"
    (tmp_path / "model.yaml").write_text(f"class_path: EarlyFusion\ninit_args:\n  {encoder}\n")
    (tmp_path / "whole.yaml").write_text("data: data.yaml\nmodel: model.yaml\n")
    head, *lines = shown(capsys, "whole.yaml")
    assert head.endswith(f"tokeniser: that of {tmp_path / 'gpt2'}")
    assert lines[-1].endswith("[UNK]|[UNK]|[UNK]|[SEP]")
    assert sum("[CLS]" in line for line in lines) == 4


@pytest.mark.parametrize("name", ["nobody", "-1", "1"])
def test_a_sample_that_does_not_exist_is_refused(name):
    with pytest.raises(InputError, match=rf"--sample {name}: train has no such key, and the numbers 0 to 0"):
        main(["data", "show", "data.yaml", f"--sample={name}"])


def test_a_missing_config_is_refused():
    with pytest.raises(InputError, match="velm data show"):
        main(["data", "show", "gone.yaml"])
