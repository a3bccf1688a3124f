"""Messages of libraries that a user cannot act on are not printed."""

import logging

import pytest
from lightning import Trainer

from velm_lightning.tracking.quiet import is_printed


@pytest.fixture
def messages():
    """Return the records of Lightning's loggers, before any filter."""
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)
    logger.setLevel(level)


def about(setting, value, messages):
    Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, **{setting: value})
    return [record for record in messages if setting in record.getMessage()]


@pytest.mark.parametrize("setting", ["val_check_interval", "limit_train_batches", "limit_val_batches"])
def test_a_setting_that_is_the_default_is_no_message(messages, setting):
    (record,) = about(setting, 1.0, messages)
    assert not is_printed(record)


def test_a_limit_of_one_batch_is_a_message(messages):
    (record,) = about("limit_val_batches", 1, messages)
    assert is_printed(record)
