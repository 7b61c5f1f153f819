"""A benchmark from beginning to end: which methods edit which items, then the judge, then the tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mre.benchmark import scene_tables
from mre.benchmark.edits import Method, method_name
from mre.benchmark.report import table_1, table_6, table_of_pairs, table_of_stability, table_of_types
from mre.editors.capabilities import refuse_unused, unused
from mre.editors.settings import EditSettings
from mre.errors import SettingsError
from mre.rewards import EDIT_TYPES, PERSPECTIVES, Reward

if TYPE_CHECKING:
    from mre.benchmark.answers import Scores
    from mre.benchmark.items import Benchmark, Item
    from mre.benchmark.tables import Table
    from mre.editors.editor import Editor, EditorInfo


@dataclass(frozen=True)
class Plan:
    """Which methods edit which items. `main`: over all items; the others answer one question each, on fewer."""

    benchmark: Benchmark
    models: tuple[str, ...]
    sweeps: dict[str, list[tuple[str, Method]]]         # model -> (asked scores, method) from the lowest; one for a model without rewards
    tables: tuple[str, ...] = ()
    probe_items: tuple[Item, ...] = ()
    text_items: tuple[Item, ...] = ()
    conditioned: tuple[str, ...] = ()
    worded: tuple[str, ...] = ()                        # models without a condition that are told the scores in words, as `sweeps` has them
    pairs: tuple[tuple[str, str], ...] = ()             # methods, each with the one that it is compared with
    guided: tuple[str, ...] = ()                        # of the conditioned, those whose guidance has a branch to lead away from
    jobs: list[tuple[Method, Sequence[Item]]] = field(default_factory=list)

    @property
    def main(self) -> list[str]:
        return list(dict.fromkeys(method.name for sweep in self.sweeps.values() for _, method in sweep))

    @property
    def best(self) -> list[str]:
        """Each model at the highest scores asked of it."""
        return [sweep[-1][1].name for sweep in self.sweeps.values()]


def plan_runs(benchmark: Benchmark, models: Sequence[str], rewards: Sequence[Reward], info: Callable[[str], EditorInfo],
              tables: Sequence[str] = (), probe_per_type: int = 20, texts_per_type: int = 8, reward_words: bool = False,
              pairs: Sequence[tuple[str, str]] = (), **given) -> Plan:
    """All methods of a benchmark. `given` (steps, guidance, fast) go to every method whose model can use them; `tables` are those of
    synthetic scenes. reward_words: each model without a reward condition is also told the scores in words, a method of its own for each
    reward. pairs: models to compare with each other; none = each that reads rewards with each that does not."""
    if len(set(models)) != len(models):
        raise SettingsError("a model is named twice")
    scales = {name: value for name, value in given.items() if name.endswith("guidance_scale")}
    told = {f"{model} told in words": model for model in models if reward_words and not info(model).conditioned}
    if reward_words and not told:
        raise SettingsError(f"--reward-words: {', '.join(models)} read scores by themselves; leave it out")
    refuse_idle([info(model) for model in models], [] if told else rewards, **given)
    refuse_idle_guidance([info(model) for model in models if info(model).guidable], **scales)
    settings = {model: usable(info(model), given) for model in models}
    rewards = sorted(rewards, key=_level)
    sweeps: dict[str, list[tuple[str, Method]]] = {}
    for model in models:
        asked = rewards if info(model).conditioned else [None]
        sweeps[model] = [(_asked(reward), Method(method_name(model, reward), model, reward, **settings[model])) for reward in asked]
    for name, model in told.items():
        sweeps[name] = [(_asked(reward), Method(method_name(model, reward).replace("@", "-words@"), model, reward, reward_words=True,
                                                **settings[model])) for reward in rewards]
    names = [sweep[0][1].name for sweep in sweeps.values()]
    if len(set(names)) != len(names):
        raise SettingsError(f"two models would be called {max(names, key=names.count)!r}; rename a folder or give each its own --out")
    conditioned = tuple(model for model in models if info(model).conditioned)
    for model in (model for pair in pairs for model in pair if model not in models):
        raise SettingsError(f"--pair names {model}, which is none of the models: {', '.join(models)}")
    compared = pairs or [(model, plain) for model in conditioned for plain in models if plain not in conditioned]
    guided = tuple(model for model in conditioned if info(model).is_guided(**scales))
    plan = Plan(benchmark, tuple(models), sweeps, tuple(tables), first_of_each(benchmark.items, probe_per_type),
                first_of_each(benchmark.items, texts_per_type), conditioned, tuple(told),
                tuple((sweeps[model][-1][1].name, sweeps[against][-1][1].name) for model, against in compared), guided)
    plan.jobs.extend((method, benchmark.items) for sweep in sweeps.values() for _, method in sweep)
    if "data" in tables:
        plan.jobs.append((scene_tables.training_data(), benchmark.items))
    for model in conditioned:
        best = (Method(method_name(model, Reward.best()), model, Reward.best(), **settings[model]), plan.probe_items)

        def probed(methods: Sequence[Method], items: Sequence[Item], model: str = model) -> list[tuple[Method, Sequence[Item]]]:
            return [(replace(method, **settings[model]), items) for method in methods]
        if "sliders" in tables:
            plan.jobs.extend([best, *probed(scene_tables.slider_methods(model), plan.probe_items)])
        if "texts" in tables:
            plan.jobs.extend([best, *probed([method for _, method in scene_tables.text_methods(model)], plan.text_items)])
        if "negative" in tables and model in guided:
            plan.jobs.extend(probed([method for _, method in scene_tables.negative_methods(model)], plan.probe_items))
    return plan


def _level(reward: Reward) -> tuple[float, ...]:
    """What rewards are ordered by: the sum of the scores, then each; no wish comes before any."""
    scores = [-1.0 if wish is None else wish for wish in reward.wishes]
    return sum(scores), *scores


def _asked(reward: Reward | None) -> str:
    return "-" if reward is None else reward.shown()


def usable(info: EditorInfo, given: Mapping[str, Any]) -> dict[str, Any]:
    """Of what is given what this editor can use; a guidance that it was not made for is tried all the same."""
    steps = given.get("steps")
    idle = {"steps"} if steps is not None and steps not in (info.capabilities.steps or ()) else set()
    idle |= set() if info.guidable else {"guidance_scale", "image_guidance_scale"}
    idle |= {"fast"} & unused(EditSettings("-", **given), info).keys()
    return {name: value for name, value in given.items() if name not in idle}


def refuse_idle(models: Sequence[EditorInfo], rewards: Sequence[Reward], **given) -> None:
    """Raises SettingsError, one line with flag and model, for what is asked for and none of the models has a control for."""
    if any(info.guidable for info in models):           # see refuse_idle_guidance
        given = {name: value for name, value in given.items() if not name.endswith("guidance_scale")}
    for settings in (*(EditSettings("-", reward) for reward in rewards), EditSettings("-", **given)):
        if all(unused(settings, info) for info in models):
            refuse_unused(settings, models[0], lambda name: "--" + name.replace("no_wish", "scores").replace("_", "-"))


def refuse_idle_guidance(models: Sequence[EditorInfo], guidance_scale: float | None = None,
                         image_guidance_scale: float | None = None) -> None:
    """Raises SettingsError for a guidance that is given and that none of the models would read."""
    if not models or any(info.is_guided(guidance_scale, image_guidance_scale) for info in models):
        return
    for name, value in (("guidance", guidance_scale), ("image-guidance", image_guidance_scale)):
        if value not in (None, 1):          # 1 is what no guidance is
            raise SettingsError(f"--{name}-scale {value:g} would change nothing: guidance is off unless --guidance-scale is above 1 "
                                "and --image-guidance-scale at least 1")


def first_of_each(items: Sequence[Item], per_type: int) -> tuple[Item, ...]:
    """The first few items of each edit type, in the order of the benchmark."""
    seen = dict.fromkeys(EDIT_TYPES, 0)
    chosen = []
    for item in items:
        if item.edit_type in seen and seen[item.edit_type] < per_type:
            seen[item.edit_type] += 1
            chosen.append(item)
    return tuple(chosen)


def editors(device: str | None = None, **options: Any) -> Callable[[str], Editor]:
    """Editors by name, each loaded once, when it is first asked to edit. options: further fields of EditorOptions."""
    from mre.editors.kinds import make_editor

    loaded: dict[str, Editor] = {}

    def editor(name: str) -> Editor:
        if name not in loaded:
            loaded[name] = make_editor(name, device=device, **options)
        return loaded[name]

    return editor


def tables_of(plan: Plan, scores: Scores) -> list[Table]:
    """Every table that the answers allow."""
    main, best = plan.main, plan.best
    if plan.benchmark.kind != "scenes":
        tables = [table_1(scores, main), *([table_of_pairs(scores, plan.pairs)] if plan.pairs else [])]
        if any(len(sweep) > 1 for sweep in plan.sweeps.values()):
            tables.append(table_6(scores, asked_of(plan)))
        if any(item.edit_type for item in plan.benchmark.items):
            tables += [table_of_types(scores, best, name) for name in PERSPECTIVES]
    else:
        tables = scene_report(plan, scores)
    if scores.repeats > 1:
        tables.append(table_of_stability(scores, main))
    return tables


def asked_of(plan: Plan) -> dict[str, list[tuple[str, str]]]:
    """Model -> (asked scores, method's name) of the models that read rewards, or are told them."""
    return {model: [(asked, method.name) for asked, method in plan.sweeps[model]] for model in (*plan.conditioned, *plan.worded)}


def scene_report(plan: Plan, scores: Scores) -> list[Table]:
    """The tables of synthetic scenes that were asked for."""
    main, best = plan.main, plan.best
    data = [scene_tables.TRAINING_DATA] if "data" in plan.tables else []
    tables = []
    if "scores" in plan.tables:
        pairs = [*plan.pairs, *((plan.sweeps[model][-1][1].name, other) for model in plan.conditioned for other in data)]
        pairs += [(plan.sweeps[told][-1][1].name, plan.sweeps[model][-1][1].name) for told in plan.worded
                  for model in plan.models if plan.sweeps[told][0][1].model == model]
        pairs += [(high, low) for model in (*plan.conditioned, *plan.worded) if len(plan.sweeps[model]) > 1
                  for high, low in [(plan.sweeps[model][-1][1].name, plan.sweeps[model][0][1].name)]]
        tables.append(scene_tables.table_of_means(scores, [*main, *data]))
        if pairs:
            tables.append(scene_tables.table_of_gains(scores, pairs))
        tables += [table_1(scores, main), *([table_of_pairs(scores, plan.pairs)] if plan.pairs else [])]
        if any(len(plan.sweeps[model]) > 1 for model in (*plan.conditioned, *plan.worded)):
            tables.append(table_6(scores, asked_of(plan)))
        tables += [table_of_types(scores, best, name) for name in PERSPECTIVES]
    for model in plan.conditioned:
        if "sliders" in plan.tables:
            tables.append(scene_tables.table_of_sliders(scores, model, plan.probe_items))
        if "texts" in plan.tables:
            tables.append(scene_tables.table_of_texts(scores, model, plan.text_items))
        if "negative" in plan.tables and model in plan.guided:
            tables.append(scene_tables.table_of_negatives(scores, model, plan.probe_items))
    return tables
