"""Postpones the import of the metrics of torchmetrics, of which Lightning needs only the base class.

The package also imports scipy and, if they are installed, transformers and torchvision, which takes longer than the
rest of the start of most commands.
"""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

_NAME = "torchmetrics"
_BASE = {"Metric": "metric", "MetricCollection": "collections", "__version__": "__about__"}
"""Names that are read from a module of their own, without the metrics."""


def postpone_metrics() -> None:
    """Let ``import torchmetrics`` load only its base classes; the first use of any other name loads the package."""
    spec = None if _NAME in sys.modules else find_spec(_NAME)
    if spec is not None:
        package = module_from_spec(spec)
        package.__class__ = _WithoutMetrics
        package._logger = logging.getLogger(_NAME)  # type: ignore[attr-defined] # its modules import it
        sys.modules[_NAME] = package


class _WithoutMetrics(ModuleType):
    """The package before its own code has run."""

    def __getattr__(self, name: str) -> Any:
        if name in _BASE:
            with suppress(ImportError, AttributeError):  # another release may have moved it
                import_module(f"{_NAME}.utilities")  # which the module of the base class imports in a circle
                return getattr(import_module(f"{_NAME}.{_BASE[name]}"), name)
        if name.startswith("__") and name not in ("__all__", "__version__"):  # looked up by tools in every module
            raise AttributeError(f"module {_NAME!r} has no attribute {name!r}")
        self.__class__ = ModuleType  # type: ignore[assignment]
        loader = self.__spec__.loader if self.__spec__ else None
        assert loader is not None, "`find_spec` has found a package"
        loader.exec_module(self)
        return getattr(self, name)
