"""Edit a benchmark with any models, let a judge score the edits, and print tables with intervals.

BENCHMARK is one of
  scenes               held-out synthetic scenes; the oracle judges them offline
  FOLDER or FILE.json  Real-Edit: photos, and a JSON of photo name -> seven lines, each with edit type and instruction
  FILE.csv             your own: columns item, image, instruction, edit_type, pictures beside it
  FOLDER               the MagicBrush test set (edit_turns.json); judged by CLIP where --clip names a model
  controls             no models: small trainings with the reward, blind, filtered, shuffled ..., compared (docs/scenes.md); an hour

Edits are written first, one PNG each, with a seed per item; then they are judged; then come the tables. The same command run again
makes only what is missing. Several processes share the edits:
  accelerate launch --num_processes 2 -m mre bench ...

Written: OUT/METHOD/ITEM.png, edits.csv (what `study create` reads), refusals.csv (edits that an editor refused, and why; the exit code is 1
then), scores.csv (one row per answer), failures.csv (answers that are missing, and why; the exit code is 1 then), preserving.csv (shift,
zoom, colour drift and change outside the edit, as measured), tables/ as CSV, Markdown and LaTeX, and sheets/.

example:
  python -m mre bench scenes --model tiny tiny-baseline --judge oracle --out bench/ --per-type 80 --scores 5,5,5 3,3,3 0,0,0
  python -m mre bench real-edit/ --model reward-insp2p insp2p --judge gpt-4o-2024-08-06 --out real-edit-results/ --budget 20
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import timedelta
from pathlib import Path

from mre.editors.load_options import add_load_arguments, load_options
from mre.errors import DataError, EditRefused, JudgeError, PerhapsPaid, SettingsError
from mre.files import EDIT_CACHE
from mre.judge.flags import add_judge_arguments, agree_on_cost, judge_from
from mre.judge.kinds import kind_of
from mre.rewards import PERSPECTIVES, Reward

REFUSALS = "refusals.csv"
SCENE_TABLES = ("scores", "data", "sliders", "texts", "negative", "counts")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("benchmark", metavar="BENCHMARK", help="what to edit (above)")
    parser.add_argument("--model", nargs="+", default=[], metavar="NAME", help="names, folders, hub ids, images:MODEL@URL")
    parser.add_argument("--pair", nargs=2, action="append", default=[], metavar=("NAME", "BASE"),
                        help="two of the models, whose difference on the same items is a table of its own; again for more (default: each "
                             "that reads rewards with each that does not)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the results folder")
    parser.add_argument("--scores", nargs="+", default=["5,5,5"], metavar="F,P,Q", help="rewards to ask for (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the edits; each item has its own, made from it (default %(default)s)")
    parser.add_argument("--steps", type=int, help="denoising steps (default: the model's); of controls: steps of each training")
    parser.add_argument("--guidance-scale", type=float, help="(default: the model's)")
    parser.add_argument("--image-guidance-scale", type=float, help="(default: the model's)")
    parser.add_argument("--fast", action="store_true", help="half the steps and guidance at the noise levels where it matters, as in edit, "
                                                            "of models that can; others are edited with as usual")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="ask the judge N times: its stability (default %(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, metavar="N", help="edits at once, of pictures that have the model's size")
    parser.add_argument("--clip", metavar="MODEL", help="folder or hub id of a CLIP model: adds CLIP-I, CLIP-T and FID (Tables 2 and 7)")
    parser.add_argument("--preserving", action=argparse.BooleanOptionalAction, default=True,
                        help="measure shift, zoom, colour drift and change outside the edit (default: yes)")
    parser.add_argument("--reward-words", action="store_true",
                        help="also tell the scores in words to models that have no condition for them, as methods of their own")
    parser.add_argument("--put-back", action="store_true", help="put back the photo's own pixels where an edit changed nothing clearly")
    parser.add_argument("--sheet", type=int, default=2, metavar="N", help="items of each edit type on the contact sheet; 0: none")
    parser.add_argument("--edits-only", action="store_true", help="stop before judging; the contact sheet is made")
    scenes = parser.add_argument_group("synthetic scenes")
    scenes.add_argument("--per-type", type=int, default=80, metavar="N", help="scenes of each edit type (default %(default)s)")
    scenes.add_argument("--size", type=int, help="of the scenes, in pixels (default: the first model's)")
    scenes.add_argument("--scene-seed", type=int, default=0, help="(default %(default)s)")
    scenes.add_argument("--photos", type=Path, metavar="DIR", help="draw a part of the scenes on pieces of these photos")
    scenes.add_argument("--tables", nargs="+", choices=SCENE_TABLES, default=SCENE_TABLES, help="(default: all)")
    scenes.add_argument("--probe-per-type", type=int, default=20, metavar="N", help="scenes of a type for sliders and negative rewards")
    scenes.add_argument("--write-effects", action="store_true",
                        help="keep what the sliders do (table sliders) in each model's folder, where the page shows it")
    scenes.add_argument("--texts-per-type", type=int, default=8, metavar="N", help="scenes of a type for reward texts")
    add_load_arguments(parser)
    controls = parser.add_argument_group("controls")
    controls.add_argument("--only", nargs="+", metavar="ARM", help="train these alone, such as reward blind filtered (default: all)")
    controls.add_argument("--trainings", type=int, default=3, metavar="N", help="trainings of each (default %(default)s)")
    controls.add_argument("--processes", type=int, default=os.cpu_count() or 1, metavar="N",
                          help="trainings at once, one thread each (default: one for each core)")
    servers = parser.add_argument_group("editors on servers (images:MODEL@URL)")
    servers.add_argument("--edit-key-file", type=Path, metavar="FILE", help="file that holds their key (default: OPENAI_API_KEY)")
    servers.add_argument("--edit-cache", type=Path, default=EDIT_CACHE, metavar="FILE",
                         help="where paid edits are kept (default %(default)s)")
    servers.add_argument("--edit-budget", type=float, metavar="USD", help="the most this run may spend on each; 0: kept edits only")
    servers.add_argument("--price-picture", type=float, metavar="USD", help="for each edit, where the list price is unknown or old")
    servers.add_argument("--max-edit-requests", type=int, metavar="N", help="the most requests this run may send to each")
    add_judge_arguments(parser, default="oracle", with_edits=True)


def run(args: argparse.Namespace) -> int:
    for name, low in (("repeat", 1), ("batch_size", 1), ("sheet", 0), ("probe_per_type", 1), ("texts_per_type", 1)):
        if getattr(args, name) < low:
            raise SettingsError(f"--{name.replace('_', '-')} must be {low} or more, got {getattr(args, name)}")
    if args.benchmark == "controls":
        return run_controls(args)
    if not args.model:
        raise SettingsError("--model must name what edits the benchmark")
    rewards, loading = [Reward.parse(scores) for scores in args.scores], load_options(args)
    unfit = args.benchmark != "scenes" and kind_of(args.judge).scenes_only
    if unfit and not args.clip and not args.edits_only:
        raise JudgeError("the oracle judges synthetic scenes only; for photos name a model, such as --judge gpt-4o-2024-08-06")
    judge = None if args.edits_only or unfit else judge_from(args)
    import torch
    from accelerate import PartialState

    from mre.benchmark.runs import editors, plan_runs

    processes = PartialState(cpu=not torch.accelerator.is_available(),      # lets processes on CPUs find each other too
                             timeout=timedelta(days=7))                     # the quickest waits for the slowest
    device = str(processes.device) if processes.device is not None and processes.device.type == "cuda" else None
    editor = editors(device, loading=loading, key_file=args.edit_key_file, cache=args.edit_cache, max_requests=args.max_edit_requests,
                     budget=args.edit_budget, price_picture=args.price_picture, ask_again=args.ask_again)
    benchmark = open_what(args, editor(args.model[0]).info.native_size)
    tables = [name for name in SCENE_TABLES if name in args.tables] if benchmark.kind == "scenes" else []
    plan = plan_runs(benchmark, args.model, rewards, lambda model: editor(model).info, tables, args.probe_per_type, args.texts_per_type,
                     args.reward_words, args.pair, steps=args.steps, guidance_scale=args.guidance_scale,
                     image_guidance_scale=args.image_guidance_scale, put_back=args.put_back, fast=args.fast)
    effects = effects_folders(args, plan, editor)
    folder, refused = make_edits(args, plan, editor, processes)
    processes.wait_for_everyone()
    if not processes.is_main_process:
        return min(refused, 1)
    folder.merge()
    return judge_and_tabulate(args, plan, folder, judge, effects) or min(refused, 1)


def effects_folders(args: argparse.Namespace, plan, editor) -> dict[str, tuple[Path, str]]:
    """Folder and digest of each model whose sliders' effects are to be kept."""
    if not args.write_effects:
        return {}
    if plan.benchmark.kind != "scenes" or "sliders" not in plan.tables or args.edits_only:
        raise SettingsError("--write-effects needs the scenes, their table sliders, and a judge")
    if not plan.conditioned:
        raise SettingsError("--write-effects: none of the models reads scores")
    from mre.benchmark.effects import folders_of

    digests = {model: editor(model).info.digest for model in plan.conditioned}
    return {model: (folder, digests[model]) for model, folder in folders_of(plan.conditioned, digests).items()}


def run_controls(args: argparse.Namespace) -> int:
    """Small trainings that differ in one thing; the table and the plot of what there is grow with each."""
    for name in ("trainings", "steps", "processes"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise SettingsError(f"--{name} must be 1 or more, got {getattr(args, name)}")
    if args.model:
        raise SettingsError("controls are trained from nothing; leave out --model")
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from mre.benchmark.controls import POOL, STEPS, cells, claim, plot_of_controls, run_apart, start_of, table_of_controls

    steps, wanted, results = args.steps or STEPS, cells(args.only, args.trainings), {}
    claim(args.out, steps)
    with ProcessPoolExecutor(args.processes, get_context("spawn")) as workers:        # spawned: torch does not bear a fork
        list(workers.map(start_of, range(args.trainings), [args.out] * args.trainings))
        found = workers.map(run_apart, wanted, [args.out] * len(wanted), [steps] * len(wanted))
        for number, (cell, rows) in enumerate(zip(wanted, found, strict=True), 1):
            print(f"{number} of {len(wanted)}: {cell.arm}, {cell.share} flawless, training {cell.training}", flush=True)
            results[cell] = rows
            table = table_of_controls(results, steps, POOL)
            table.write(args.out / "tables")
            plot_of_controls(table, args.out / "controls.png")
    print(table_of_controls(results, steps, POOL).markdown())
    return 0


def open_what(args: argparse.Namespace, native_size: int):
    """The benchmark that the flags name."""
    from mre.benchmark.items import SceneSet, open_benchmark

    if args.benchmark == "scenes":
        return SceneSet(args.per_type, args.scene_seed, "heldout", args.size or native_size, args.photos).benchmark()
    return open_benchmark(Path(args.benchmark))


def make_edits(args: argparse.Namespace, plan, editor, processes):
    """This process's share of the edits that are missing. Returns the folder, and how many an editor refused: these are named, and asked
    for again by the next run."""
    from tqdm import tqdm

    from mre.benchmark.edits import ResultsFolder, write_edits

    if processes.is_main_process:       # one process notes what the folder is for, the others find it noted
        folder = ResultsFolder(args.out, plan.benchmark)
        folder.claim([method for method, _ in plan.jobs], lambda model: editor(model).identity, args.seed)
    processes.wait_for_everyone()
    folder = ResultsFolder(args.out, plan.benchmark)
    refused = perhaps_paid = 0
    rows: list[tuple[str, str, str]] = []

    def on_refusal(method: str, item: str, error: EditRefused) -> None:
        nonlocal refused, perhaps_paid
        refused += 1
        perhaps_paid += isinstance(error, PerhapsPaid)
        rows.append((method, item, str(error)))
        bar.write(f"error: {method}, {item}: {error}", file=sys.stderr)
    share = sum(len(items) for _, items in plan.jobs) // processes.num_processes
    with tqdm(total=share, unit="edit", desc="edits", disable=None if processes.is_main_process else True) as bar:
        for method, items in plan.jobs:
            bar.set_postfix_str(method.name, refresh=False)
            write_edits(folder, [method], editor, args.seed, batch=args.batch_size, items=items, rank=processes.process_index,
                        processes=processes.num_processes, on_progress=bar.update, on_refusal=on_refusal)
    write_refusals(args.out / (REFUSALS if processes.is_main_process else f"refusals-{processes.process_index}.csv"), rows)
    if refused:
        print(f"{refused} edit{'s were' if refused > 1 else ' was'} refused and {'are' if refused > 1 else 'is'} missing"
              + (f", {perhaps_paid} of them perhaps paid: --ask-again asks again" if perhaps_paid else ""), file=sys.stderr)
    return folder, refused


def write_refusals(path: Path, rows: list[tuple[str, str, str]]) -> None:
    """A row for each edit that an editor refused in this run; no file where there was none."""
    from mre.files import csv_text, write_whole

    if rows:
        write_whole(path, csv_text(("method", "item", "error"), rows))
    else:
        path.unlink(missing_ok=True)


def judge_and_tabulate(args: argparse.Namespace, plan, folder, judge, effects: dict[str, tuple[Path, str]]) -> int:
    """Judge all edits, write one row per answer, and the tables; `effects`: folder and digest of models whose effects are kept."""
    from mre.benchmark.answers import Scores
    from mre.benchmark.runs import tables_of

    tables, failed, stopped, scores = [], 0, None, None
    if judge is not None:
        answers, tally = judged(args, plan, folder, judge)
        failed, stopped = tally.failed, tally.stopped
        scores = Scores(answers, plan.benchmark.items)
        tables += tables_of(plan, scores)
        if "counts" in plan.tables:
            tables += counts(plan, folder)
        write_effects(plan, scores, judge.name, effects)
    write_sheets(args, plan, folder, scores)
    if args.preserving and not args.edits_only:
        tables += measured_preserving(plan, folder, scores)
    if args.clip:
        from mre.benchmark.clip_tables import tables_by_clip
        tables += tables_by_clip(plan, folder, args.clip)
    for table in tables:
        table.write(args.out / "tables")
        print(table.markdown())
    print(f"{len(tables)} tables in {args.out / 'tables'}, {len(folder.rows())} edits in {args.out / 'edits.csv'}")
    if stopped:
        raise JudgeError(f"{stopped}; run the same command again to resume")
    return 1 if failed else 0


def write_effects(plan, scores, judge: str, effects: dict[str, tuple[Path, str]]) -> None:
    """What each model's sliders do, into its folder."""
    from mre.benchmark.effects import effects_of
    from mre.benchmark.scene_tables import table_of_sliders

    for model, (folder, weights) in effects.items():
        path = effects_of(table_of_sliders(scores, model, plan.probe_items), judge, weights).write(folder)
        print(f"what the sliders of {model} do is kept in {path}")


def measured_preserving(plan, folder, scores) -> list:
    """The tables of preserving as it is measured."""
    from tqdm import tqdm

    from mre.benchmark.preserving_tables import measure_edits, tables_of_preserving

    items = plan.benchmark.items
    with tqdm(total=len(plan.main) * len(items), unit="edit", desc="preserving", delay=2, disable=None) as bar:
        measured = measure_edits(folder, plan.main, items, bar.update)
    return tables_of_preserving(measured, plan.main, items, scores)


def judged(args: argparse.Namespace, plan, folder, judge):
    """All answers, those from the cache included, written to scores.csv."""
    from tqdm import tqdm

    from mre.benchmark.scores import judge_edits, questions, write_scores

    wanted: dict[str, tuple] = {}
    for method, items in plan.jobs:                       # a method may serve several tables: judge it on the larger set
        if len(items) > len(wanted.get(method.name, ())):
            wanted[method.name] = tuple(items)
    asks = questions(folder, list(wanted.items()), args.repeat)
    if not asks:
        raise DataError(f"{args.out}: there are no edits to judge")
    with judge.cache.only_run():
        agree_on_cost(judge, asks, "evaluate", args.yes)
        with tqdm(total=len(asks), unit="edit", desc=judge.name, disable=None) as bar:
            answers, tally = judge_edits(judge, asks, "evaluate", bar.update)
    write_scores(answers, args.out)
    print(tally, file=sys.stderr)
    if tally.failed:
        print(f"{tally.failed} answers are missing; why stands in {args.out / 'failures.csv'}", file=sys.stderr)
    return answers, tally


def counts(plan, folder) -> list:
    """The table of counts and positions, where the scenes hold any."""
    from mre.benchmark.scene_tables import counts_found, operation_of, table_of_counts

    found = {method: counts_found(folder, method, plan.benchmark.items) for method in plan.best}
    return [table_of_counts(found, plan.benchmark.items, operation_of)] if any(found.values()) else []


def write_sheets(args: argparse.Namespace, plan, folder, scores) -> None:
    """The contact sheet and, where a judge gave scores, one with the worst edits of each model."""
    from mre.benchmark.sheets import chosen_items, contact_sheet, worst_items
    from mre.files import png_bytes, write_whole

    if not args.sheet:
        return

    def score(method: str, perspective: str, item: str) -> float | None:
        return scores.values(method, perspective, [(item, 0)])[0]

    def caption(method: str, item: str) -> str:
        if scores is None:
            return ""
        return " / ".join("-" if value is None else f"{value:.1f}" for value in (score(method, name, item) for name in PERSPECTIVES))

    shown = [method for sweep in plan.sweeps.values() for _, method in reversed(sweep)]
    names = [method.name for method in shown]
    items = chosen_items(plan.benchmark.items, args.sheet)
    write_whole(args.out / "sheets" / "edits.png", png_bytes(contact_sheet(folder, items, names, caption)))
    for method in plan.best if scores is not None else ():
        worst = worst_items(plan.benchmark.items, lambda name, item, method=method: score(method, name, item), 7)
        write_whole(args.out / "sheets" / f"worst_{method}.png", png_bytes(contact_sheet(folder, worst, names, caption)))
