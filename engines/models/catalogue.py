"""The catalogue: every declared model, found by family, by name, or by a near miss."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import cache

from engines import plugins
from engines.errors import BadInput, PackageMissing
from engines.models.advanced import declare as advanced_declare
from engines.models.automl import declare as automl_declare
from engines.models.ensemble import declare as ensemble_declare
from engines.models.pytorch import declare as pytorch_declare
from engines.models.rl_agents import declare as rl_agents_declare
from engines.models.sklearn import declare as sklearn_declare
from engines.models.spec import FAMILIES, ModelSpec

_DECLARED = (
    *sklearn_declare.MODELS,
    *ensemble_declare.MODELS,
    *pytorch_declare.MODELS,
    *advanced_declare.MODELS,
    *rl_agents_declare.MODELS,
    *automl_declare.MODELS,
)


@cache
def models() -> dict[str, ModelSpec]:
    """Every model by its name, in the order of the tree: ours, then those of other packages."""
    known = {spec.name: spec for spec in _DECLARED}
    taken = {_bare(word): word for word in (*known, *FAMILIES, "all")}

    def refuse(spec: ModelSpec) -> str | None:
        if spec.family not in FAMILIES:
            return f"model {spec.name}: no family `{spec.family}`, one of {', '.join(FAMILIES)}"
        if not spec.name.isidentifier() or spec.name != spec.name.lower():
            return f"model {spec.name}: a name is in snake_case"
        if _bare(spec.name) in taken:
            return f"model {spec.name}: the name is taken by {taken[_bare(spec.name)]}"
        taken[_bare(spec.name)] = spec.name
        return None

    return known | {s.name: s for s, _ in plugins.plugged(plugins.MODELS, ModelSpec, refuse)}


def families() -> dict[str, tuple[ModelSpec, ...]]:
    """The models of each family that has any, in the order of the tree."""
    known = models().values()
    grouped = {family: tuple(s for s in known if s.family == family) for family in FAMILIES}
    return {family: specs for family, specs in grouped.items() if specs}


def normalise(word: str) -> str:
    """The form in which names are compared: case, underscores and dashes don't matter."""
    return word.lower().replace("_", "").replace("-", "").replace(" ", "")


def _bare(word: str) -> str:
    """A model's name without what scikit-learn puts behind it: `ARDRegression` is `ard`."""
    form = normalise(word)
    for ending in ("regressor", "classifier", "regression"):
        form = form.removesuffix(ending)
    return form


def find(word: str) -> ModelSpec:
    """The model that `word` names. Raises BadInput with the nearest names."""
    known = {_bare(name): spec for name, spec in models().items()}
    spec = known.get(_bare(word))
    if spec is None:
        hint = nearest(word, [*models(), *families(), "all"]) or "."
        raise BadInput(f"No model `{word}`{hint}")
    return spec


def is_group(word: str) -> bool:
    """Whether a selector names a family or `all`, and not one model."""
    return normalise(word) in {"all", *(normalise(family) for family in families())}


def select(words: Iterable[str]) -> list[ModelSpec]:
    """The models that selectors name, each once: a model, a family, or `all`.

    A family and `all` leave out what is not installed; a model named by itself that is not
    installed raises PackageMissing. Raises BadInput for an unknown word or if nothing is left.
    """
    chosen: dict[str, ModelSpec] = {}
    by_family = {normalise(name): specs for name, specs in families().items()}
    for word in words:
        if normalise(word) == "all" or normalise(word) in by_family:
            group = by_family.get(normalise(word), tuple(models().values()))
            available = [spec for spec in group if spec.reason_missing is None]
            if not available:
                raise PackageMissing(f"{word}: {group[0].reason_missing}.")
            chosen.update((spec.name, spec) for spec in available)
            continue
        spec = find(word)
        if spec.reason_missing is not None:
            raise PackageMissing(f"{spec.name} {spec.reason_missing}.")
        chosen[spec.name] = spec
    return list(chosen.values())


def implied_task(specs: Iterable[ModelSpec]) -> str | None:
    """`trading` for agents alone, which do nothing else; None where the data decide."""
    does = ["trading" in spec.forms for spec in specs]
    return "trading" if does and all(does) else None


def nearest(word: str, candidates: Iterable[str]) -> str:
    """`: did you mean a or b?` for a name that was not found, or an empty string."""
    forms = {normalise(name): name for name in candidates}
    close = difflib.get_close_matches(normalise(word), forms, n=3, cutoff=0.5)
    return f": did you mean {' or '.join(forms[form] for form in close)}?" if close else ""
