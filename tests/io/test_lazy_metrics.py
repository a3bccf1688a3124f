"""``postpone_metrics`` loads the base classes of torchmetrics, and the package when one of its metrics is used."""

import sys

import pytest

from velm_lightning.io import lazy_metrics

FILES = {
    "__init__.py": """
import logging
_logger = logging.getLogger(__name__)
from metricslike.utilities import Metric
from metricslike.rest import Recall
__all__ = ["Recall"]
""",
    "__about__.py": "__version__ = '1.2'\n",
    "utilities.py": "from metricslike.metric import Metric\n",
    "metric.py": "import metricslike.utilities\nfrom metricslike import _logger\nclass Metric: pass\n",
    "rest.py": "from metricslike.metric import Metric\nclass Recall(Metric): pass\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with the parts of torchmetrics, of which nothing is loaded."""
    (tmp_path / "metricslike").mkdir()
    for name, text in FILES.items():
        (tmp_path / "metricslike" / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(lazy_metrics, "_NAME", "metricslike")
    yield lazy_metrics
    for name in [name for name in sys.modules if name.partition(".")[0] == "metricslike"]:
        del sys.modules[name]


def test_the_base_class_loads_no_metrics(package):
    package.postpone_metrics()
    from metricslike import Metric, __version__

    assert (Metric.__name__, __version__) == ("Metric", "1.2")
    assert "metricslike.rest" not in sys.modules


def test_the_first_use_of_a_metric_loads_the_package(package):
    package.postpone_metrics()
    import metricslike
    from metricslike import Metric

    assert issubclass(metricslike.Recall, Metric)
    assert metricslike.__all__ == ["Recall"]
    with pytest.raises(AttributeError, match="Nothing"):
        metricslike.Nothing  # noqa: B018


def test_every_name_can_be_imported_at_once(package):
    package.postpone_metrics()
    names = {}
    exec("from metricslike import *", names)
    assert "Recall" in names


def test_what_tools_look_up_in_every_module_loads_nothing(package):
    package.postpone_metrics()
    assert not hasattr(sys.modules["metricslike"], "__wrapped__")
    assert "metricslike.rest" not in sys.modules


def test_a_package_that_is_loaded_stays(package):
    import metricslike

    package.postpone_metrics()
    assert sys.modules["metricslike"] is metricslike


def test_a_missing_package_changes_nothing(package, monkeypatch):
    monkeypatch.setattr(package, "_NAME", "no_such_package")
    package.postpone_metrics()
    assert "no_such_package" not in sys.modules


def test_a_release_that_moved_the_base_class_is_loaded_whole(package, tmp_path):
    folder = tmp_path / "metricslike"
    (folder / "metric.py").rename(folder / "moved.py")
    for file in folder.glob("*.py"):
        file.write_text(file.read_text().replace("metricslike.metric", "metricslike.moved"))
    package.postpone_metrics()
    import metricslike
    from metricslike import Metric

    assert issubclass(metricslike.Recall, Metric)
