"""Messages of libraries that a user cannot act on are not printed."""

import logging

import pytest
from lightning import Trainer

from velm_lightning.tracking.quiet import is_printed


@pytest.mark.parametrize("setting", ["val_check_interval", "limit_train_batches", "limit_val_batches"])
def test_a_setting_that_is_the_default_is_no_message(caplog, setting):
    with caplog.at_level(logging.INFO, "lightning.pytorch"):
        Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, **{setting: 1.0})
    assert any(setting in record.getMessage() for record in caplog.records)
    assert [record.getMessage() for record in caplog.records if is_printed(record) and setting in record.msg] == []


def test_a_limit_of_one_batch_is_a_message(caplog):
    with caplog.at_level(logging.INFO, "lightning.pytorch"):
        Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, limit_val_batches=1)
    assert [record for record in caplog.records if is_printed(record) and "limit_val_batches" in record.msg]
