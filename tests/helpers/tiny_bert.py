"""A BERT with random weights and its tokeniser, as a folder of the hub."""

from helpers import tiny


def save(folder, words=None):
    """Save a model of ``tiny.TEXT_CONFIGS`` and a tokeniser of these words, by default those of ``tiny.TEXTS``."""
    from tokenizers import processors
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    trained = {} if words is None else {"tokenizer": tiny.train_tokenizer(words)}
    backend = tiny.vocabulary(**trained).tokenizer
    backend.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 1), ("[SEP]", 2)])
    names = {"pad": "[PAD]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]", "unk": "[UNK]"}
    special = {f"{key}_token": name for key, name in names.items()}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **special)
    tokenizer.save_pretrained(folder)
    config = AutoConfig.for_model(**tiny.TEXT_CONFIGS["bert"], vocab_size=len(tokenizer))
    AutoModel.from_config(config).save_pretrained(folder)
    return folder
