"""Readers of prediction files, one module per tool; its name with ``-`` for ``_`` is the value of ``--as``.

Each has ``read(path, choices)``, which returns ``Imported``.
"""
