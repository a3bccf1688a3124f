"""Prints the commands of a sweep, and the results of its trials."""

from __future__ import annotations

import json
import random
import shlex
from pathlib import Path
from typing import Any

from velm_lightning.io.console import echo
from velm_lightning.io.terminal import Console, Table
from velm_lightning.sweep.parameter import Parameter
from velm_lightning.sweep.spec import Config, Spec, flattened

SAMPLES = 5


def rehearse(spec: Spec) -> None:
    """Print the commands of a grid, or of some random trials."""
    if spec.method == "grid":
        points = list(spec.points())
    else:
        rng = random.Random(0)
        points = [
            {parameter.key: drawn(parameter, rng) for parameter in spec.parameters}
            for _ in range(min(SAMPLES, spec.cap or SAMPLES))
        ]
    count = len(points) if spec.method == "grid" else spec.cap
    echo(f"# {spec.name}: {spec.method}, {count} trials{'' if count == len(points) else ', for example'}")
    for point in map(flattened, points):
        echo(shlex.join(spec.words(point, Path("ARGS.json"))))
        echo(f"#   ARGS.json: {json.dumps(point)}")


def drawn(parameter: Parameter, rng: random.Random) -> Any:
    """Return a random value, drawn as in a random sweep."""
    if parameter.kind in ("constant", "categorical"):
        return rng.choice(parameter.values)
    if parameter.kind == "categorical_w_probabilities" or "normal" in parameter.kind:
        return parameter.at(rng.random())
    if parameter.kind == "int_uniform":
        return rng.randint(int(parameter.low), int(parameter.high))
    low, high, logarithmic = parameter.bounds()
    return parameter.rounded(low * (high / low) ** rng.random() if logarithmic else rng.uniform(low, high))


def show(study: Any) -> bool:
    """Print the trials, best first, and the importance of the parameters; return whether any trial has a figure."""
    from optuna.trial import TrialState

    from velm_lightning.sweep.progress import formatted, next_steps, short
    from velm_lightning.sweep.study import best

    spec: Spec = study.spec
    trials = best(study.trials(), spec.maximize)
    searched = spec.searched
    heads = ["trial", "state", spec.metric, *map(short, searched), "run"]
    table = Table(title=spec.name, title_justify="left")
    for head in heads:
        table.add_column(head, overflow="fold")  # in 80 columns nothing is cut off
    for trial in trials:
        config: Config = trial.user_attrs.get("config", {})
        value = trial.value if trial.value is not None else next(reversed(trial.intermediate_values.values()), None)
        cells = [formatted(config.get(key, "")) for key in searched]
        figure = "" if value is None else f"{value:.4f}"
        row = [str(trial.number), trial.state.name.lower(), figure, *cells, str(trial.user_attrs.get("run", ""))]
        table.add_row(*row)
    console = Console()
    console.print(table)
    for trial in trials:
        if "error" in trial.user_attrs:
            last = (trial.user_attrs["error"].splitlines() or [""])[-1]
            console.print(f"trial {trial.number} failed: {last} (see {study.folder_of(trial) / 'log.txt'})")
    for name, share in importances(study).items():
        if name in searched:
            console.print(f"importance {share:6.1%}  {name}")
    for line in next_steps(study):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return any(trial.state == TrialState.COMPLETE for trial in trials)


def importances(study: Any) -> dict[str, float]:
    """Return the share of each parameter in the difference between good and bad trials (PED-ANOVA)."""
    import warnings

    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.trial import TrialState

    done = study.optuna.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(done) < 4 or len({trial.value for trial in done}) < 2:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna warns that the evaluator is experimental
        return dict(get_param_importances(study.optuna, evaluator=PedAnovaImportanceEvaluator()))
