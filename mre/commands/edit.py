"""Edit a picture with an instruction, or many: a folder of pictures, or a CSV of jobs.

A job's PNG carries its recipe, so that a second run of the same command skips what is done and does the rest; the same recipe gives the
same bytes here, on the page and through the API. Columns of a CSV: image and instruction, and where they differ from the flags
following, preserving, quality, text_following, text_preserving, text_quality, seed, steps, guidance_scale, image_guidance_scale,
scheduler, mask, put_back and fast (yes or no), out (a name under --out). Paths are relative to the CSV.

  python -m mre edit photo.jpg "make it black and white" --out out.png
  python -m mre edit photos/ "make it look like sunset" --out edited/
  python -m mre edit jobs.csv --out edited/
  python -m mre edit photo.jpg --recipe edited/photo.png --out again.png
  python -m mre edit photo.jpg "make it winter" --mask sky.png --out out.png
  python -m mre edit photo.jpg "make it black and white" --best-of 4 --judge measured --out out.png
  python -m mre edit photo.jpg "make it winter" --model images:qwen-image-edit@http://localhost:8000/v1 --out out.png
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mre.editors.load_options import add_load_arguments, load_options
from mre.errors import DataError, MreError, PerhapsPaid, SettingsError
from mre.files import EDIT_CACHE, read_table, write_whole
from mre.judge.kinds import forms
from mre.rewards import NOTHING_WRONG, PERSPECTIVES, Reward, parsed_score

if TYPE_CHECKING:
    from mre.editors.editor import Editor
    from mre.editors.load_options import LoadOptions
    from mre.editors.reading import Reading
    from mre.editors.settings import EditSettings
    from mre.judge.verdicts import Judge

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
NUMBERS = ("seed", "steps", "guidance_scale", "image_guidance_scale")
TEXT_COLUMNS = tuple(f"text_{name}" for name in PERSPECTIVES)
NOTES = 5               # instructions whose unknown words are named
COLUMNS = ("image", "instruction", *PERSPECTIVES, *TEXT_COLUMNS, *NUMBERS, "scheduler", "mask", "put_back", "fast", "out")


@dataclass(frozen=True)
class Job:
    """One picture to make, and what messages call it."""

    image: Path
    out: Path
    settings: EditSettings
    label: str
    is_row: bool = False        # of a table, whose columns may say what the flags do


@dataclass(frozen=True)
class BestOf:
    """Among how many edits a judge chooses."""

    count: int
    judge: Judge


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, help="a picture, a folder of pictures, or a .csv of jobs")
    parser.add_argument("instruction", nargs="?", help="what to change (for a CSV: where a row says nothing)")
    parser.add_argument("--out", type=Path, required=True, help="the PNG to write; a folder for a folder or a CSV")
    parser.add_argument("--model", help="name, folder, hub id or images:MODEL@URL (default: tiny)")
    parser.add_argument("--scores", metavar="5,5,5",
                        help="following, preserving, quality, each 0 to 5, or none for no wish (default: 5,5,5)")
    for name in PERSPECTIVES:
        parser.add_argument(f"--{name}", metavar="SCORE", help=f"the score of {name} alone: 0 to 5, or none")
    parser.add_argument("--reward-text", metavar='"a; b; c"', help="what is wrong, for each of the three (default: None; None; None)")
    parser.add_argument("--negative-scores", metavar="0,0,0", help="a lower reward to move away from (default: off)")
    parser.add_argument("--seed", help="start noise, a whole number (default: 42)")
    parser.add_argument("--steps", help="denoising steps (default: the model's)")
    parser.add_argument("--guidance-scale", help="how strongly the instruction is followed (default: the model's)")
    parser.add_argument("--image-guidance-scale", help="how strongly the picture is kept (default: the model's)")
    parser.add_argument("--scheduler", help="default, ddim, dpm-solver, unipc, euler or euler-ancestral")
    parser.add_argument("--fast", action="store_true", help="half the steps by a solver that needs no more, and guidance only at the noise "
                                                            "levels where it matters: less than half the time, another picture")
    parser.add_argument("--way-back", choices=("guided", "replace"), help="how the model's picture returns to the photo's size")
    parser.add_argument("--mask", type=Path, metavar="PNG", help="a picture of the photo's size: white may change, all else is put back")
    parser.add_argument("--reward-words", action="store_true",
                        help="say the scores in the instruction, to a model that has no condition for them")
    parser.add_argument("--put-back", action=argparse.BooleanOptionalAction,
                        help="put back the photo's own pixels where nothing clearly changed (with --mask: outside it)")
    parser.add_argument("--recipe", type=Path, metavar="PNG", help="take all settings from a PNG that was made here; other flags override")
    parser.add_argument("--no-recipe", action="store_true", help="write PNGs that carry nothing but pixels (a second run makes them anew)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps (default: the best there is)")
    add_load_arguments(parser)
    best = parser.add_argument_group("the best of several")
    best.add_argument("--best-of", type=int, metavar="N", help="edit with N seeds, from --seed on, and keep the edit that the judge scores "
                                                               "highest (the geometric mean of its perspectives)")
    best.add_argument("--judge", metavar="NAME", help=f"who scores them: {forms()}")
    best.add_argument("--judge-requests", type=int, metavar="N", help="the most requests this run may send to a paid judge")
    group = parser.add_argument_group("editor on a server (images:MODEL@URL)")
    group.add_argument("--key-file", type=Path, metavar="FILE", help="file that holds its key (default: OPENAI_API_KEY)")
    group.add_argument("--cache", type=Path, default=EDIT_CACHE, metavar="FILE", help="where paid edits are kept (default %(default)s)")
    group.add_argument("--max-requests", type=int, metavar="N", help="the most requests this run may send")
    group.add_argument("--budget", type=float, metavar="USD", help="the most this run may spend; 0: kept edits only")
    group.add_argument("--ask-again", action="store_true",
                       help="ask again for edits that a run before asked for and that never came: each may be paid for twice")
    group.add_argument("--price-picture", type=float, metavar="USD", help="for each edit, where the list price is unknown or old")


def run(args: argparse.Namespace) -> int:
    from mre.device import check_device
    from mre.editors.kinds import make_editor
    model, settings = _asked(args)
    _refuse_flags_of_servers(args, model)
    if args.device is not None:
        check_device(args.device)
    jobs = _jobs(args, settings)
    _refuse_to_write_over(jobs)

    def editor_with(loading: LoadOptions) -> Editor:
        return make_editor(model, device=args.device, loading=loading, key_file=args.key_file, cache=args.cache,
                           max_requests=args.max_requests, budget=args.budget, price_picture=args.price_picture, ask_again=args.ask_again)
    editor = editor_with(load_options(args))
    if args.recipe and args.dtype is None:
        editor = _as_recipe(editor, args.recipe, lambda dtype: editor_with(replace(load_options(args), dtype=dtype)))
    _refuse_unused(editor, args.recipe, jobs)
    best = _best_of(args, editor)
    code = 0
    readings: list[Reading] = []
    if len(jobs) == 1 and not (args.image.is_dir() or _is_table(args.image)):
        _make(editor, jobs[0], readings, keep_recipe=not args.no_recipe, best=best)
    else:
        code = _make_all(editor, jobs, readings, keep_recipe=not args.no_recipe, best=best)
    _say_how_it_was_read(editor, jobs, readings)
    _say_what_is_idle(editor, jobs)
    return code


def _as_recipe(editor: Editor, path: Path, in_format: Callable[[str], Editor]) -> Editor:
    """The editor in the number format that a recipe's picture was made in, where the chip has it; else a note says that it lacks it."""
    from mre.editors.load_options import DTYPES
    from mre.recipes import read_recipe
    asked = read_recipe(path, name=str(path)).made_with.get("dtype", editor.silent_dtype)
    if asked == editor.dtype or asked not in DTYPES[1:]:
        return editor
    other = in_format(asked)
    try:
        return other if other.dtype == asked else editor
    except SettingsError:
        print(f"note: {path.name} was made in {asked}, which this chip does not compute: it is made in {editor.dtype} here",
              file=sys.stderr)
        return editor


def _best_of(args: argparse.Namespace, editor: Editor) -> BestOf | None:
    """The judge that chooses, and among how many; None where nothing is chosen. Raises SettingsError, JudgeError."""
    if args.best_of is None:
        if args.judge or args.judge_requests is not None:
            raise SettingsError("--judge chooses among several edits; give --best-of N")
        return None
    from mre.best_of import refuse_seedless
    from mre.judge.kept import without_keeping
    from mre.judge.kinds import kind_of, make_judge
    from mre.judge.verdicts import costs_money
    refuse_seedless(editor.info, args.best_of)
    if not args.judge:
        raise SettingsError("--best-of needs a judge; give --judge NAME")
    if kind_of(args.judge).scenes_only:
        raise SettingsError(f"--judge {args.judge} judges synthetic scenes only")
    judge = make_judge(args.judge, max_requests=args.judge_requests, limits_last=True, ask_again=args.ask_again)
    if costs_money(judge) and args.judge_requests is None:
        raise SettingsError(f"--judge {args.judge} costs money; --judge-requests N says how many requests it may be sent")
    return BestOf(args.best_of, without_keeping(judge))


def _refuse_flags_of_servers(args: argparse.Namespace, model: str) -> None:
    """Flags that an editor on a server alone can honour raise SettingsError with any other model."""
    from mre.editors.names import is_images
    if is_images(model):
        return
    given = [name for name in ("key_file", "max_requests", "budget", "price_picture") if getattr(args, name) is not None]
    given += ["cache"] if args.cache != EDIT_CACHE else []
    given += ["ask_again"] if args.ask_again and args.best_of is None else []        # a judge may be asked again too
    if given:
        flags = ", ".join("--" + name.replace("_", "-") for name in given)
        raise SettingsError(f"{flags}: only for an editor on a server (images:MODEL@URL), and the model is {model}; leave it out")


def _flag(setting: str) -> str:
    return "--" + {"negative_reward": "negative-scores", "no_wish": "scores"}.get(setting, setting).replace("_", "-")


def _refuse_unused(editor: Editor, recipe: Path | None, jobs: list[Job]) -> None:
    """Before anything is made: a setting that the model has no control for raises SettingsError, unless the recipe brings it."""
    from mre.editors.capabilities import refuse_unused, unused
    from mre.editors.settings import EditSettings
    from mre.recipes import read_recipe
    accepted = unused(EditSettings.from_recipe(read_recipe(recipe, name=str(recipe))), editor.info) if recipe else {}
    for job in jobs:
        try:
            refuse_unused(job.settings, editor.info, str if job.is_row else _flag, accepted)
        except SettingsError as error:
            raise SettingsError(f"{job.label}: {error}" if job.is_row else str(error)) from None


def _say_how_it_was_read(editor: Editor, jobs: list[Job], made: list[Reading]) -> None:
    """A note on standard error for each instruction: how an editor read it before the pictures that were `made`, or which words one of a
    closed vocabulary does not know."""
    if (vocabulary := editor.vocabulary) is None:
        return
    asked = dict.fromkeys(job.settings.instruction for job in jobs if not job.settings.as_typed)
    others = [reading for instruction in asked if instruction not in {each.instruction for each in made}
              and (reading := editor.read(instruction)) is not None]
    readings = list({each.line: each for each in [*made, *others]}.values())
    if readings:
        readings.sort(key=lambda reading: bool(reading.understood))          # first those whose pictures were left as they are
        for reading in readings[:NOTES]:
            print(f"note: {reading.line}" + ("" if reading.understood else "; the picture is left as it is"), file=sys.stderr)
        if (left := readings[NOTES:]):
            print(f"note: {sum(bool(reading.understood) for reading in left)} more understood, "
                  f"{sum(not reading.understood for reading in left)} more not", file=sys.stderr)
        return
    strange = [words for instruction in asked if (words := vocabulary.unknown_words(instruction))]
    for words in strange[:NOTES]:
        print(f"note: {editor.name} does not know: {', '.join(words[:8])}; it learned a few hundred English words, see its card",
              file=sys.stderr)
    if len(strange) > NOTES:
        print(f"note: nor words of {len(strange) - NOTES} more instructions", file=sys.stderr)


def _say_what_is_idle(editor: Editor, jobs: list[Job]) -> None:
    """A note on standard error where a guidance was asked for and nothing is guided."""
    pairs = {(job.settings.guidance_scale, job.settings.image_guidance_scale) for job in jobs}
    if any({*pair} - {None, 1} and not editor.info.is_guided(*pair) for pair in pairs):
        print("note: the guidance scale changed nothing: guidance is off unless --guidance-scale is above 1 "
              "and --image-guidance-scale at least 1", file=sys.stderr)


def _asked(args: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """The model and the settings that the flags ask for, on top of those of --recipe."""
    from mre.editors.settings import EditSettings
    from mre.recipes import read_recipe
    given: dict[str, Any] = {name: getattr(args, name) for name in (*NUMBERS, "scheduler", "way_back") if getattr(args, name) is not None}
    base: dict[str, Any] = {}
    model = args.model
    if args.recipe:
        recipe = read_recipe(args.recipe, name=str(args.recipe))
        base = dict(vars(EditSettings.from_recipe(recipe)))
        model = model or _known_model(recipe.made_with.get("model", ""), args.recipe)
    if args.instruction is not None:
        base |= {"instruction": args.instruction, "as_typed": False}
    if (reward := _asked_reward(args, base.get("reward", Reward.best()))) != base.get("reward"):
        base["reward"] = reward
    if args.negative_scores:
        base["negative_reward"] = Reward.parse(args.negative_scores)
    if args.reward_words:
        base["reward_words"] = True
    if args.fast:
        base["fast"] = True
    _ask_to_put_back(args, base)
    return model or "tiny", {**base, **given}


def _asked_reward(args: argparse.Namespace, reward: Reward) -> Reward:
    """The reward that the flags ask for, on top of another."""
    wishes = reward.wishes if not args.scores else Reward.parse(args.scores).wishes
    wishes = [wish if getattr(args, name) is None else parsed_score(getattr(args, name), name)
              for name, wish in zip(PERSPECTIVES, wishes, strict=True)]
    if args.reward_text is not None:
        return Reward.of(wishes, Reward.parse("5,5,5", args.reward_text).texts)
    return Reward.of(wishes, (NOTHING_WRONG if wish is None else text for wish, text in zip(wishes, reward.texts, strict=True)))


def _ask_to_put_back(args: argparse.Namespace, base: dict[str, Any]) -> None:
    from mre.masks import Mask
    if args.mask is not None and args.put_back is False:
        raise SettingsError("--no-put-back: a mask says where the photo is put back; leave out one of the two")
    if args.mask is not None:
        base["mask"] = Mask.read(args.mask)
    if args.put_back is not None:
        base["put_back"] = args.put_back
    if args.put_back is False:
        base["mask"] = None


def _known_model(name: str, source: Path) -> str:
    """A recipe may name a model that is known by name; a folder or hub id that it names is not opened on its word."""
    from mre.editors.kinds import kind_of
    if not kind_of(name).by_recipe:
        raise SettingsError(f"{source} was made with the model {name[:60]!r}, which is no model known by name; say which one with --model")
    return name


def _is_table(path: Path) -> bool:
    return path.suffix.lower() == ".csv"


def _jobs(args: argparse.Namespace, asked: dict[str, Any]) -> list[Job]:
    from mre.editors.settings import EditSettings
    if _is_table(args.image):
        return _table_jobs(args.image, args.out, asked)
    if args.image.is_dir():
        files = sorted(path for path in args.image.iterdir() if path.suffix.lower() in PICTURES)
        if not files:
            raise DataError(f"{args.image}: no pictures in this folder ({', '.join(PICTURES)})")
        stems = [path.stem for path in files]
        full = {path.name for path in files}
        names = [path.stem if stems.count(path.stem) == 1 and path.stem not in full else path.name for path in files]
        settings = EditSettings(**{"instruction": "", **asked})
        return [Job(path, args.out / f"{name}.png", settings, str(path)) for path, name in zip(files, names, strict=True)]
    if args.out.suffix.lower() != ".png":
        raise SettingsError(f"--out must be a .png file, got {args.out}: other formats lose pixels or the recipe")
    return [Job(args.image, args.out, EditSettings(**{"instruction": "", **asked}), str(args.image))]


def _refuse_to_write_over(jobs: list[Job]) -> None:
    """Raises SettingsError where an edit would take the place of a photo that is edited."""
    photos = {job.image.resolve() for job in jobs}
    if over := next((job for job in jobs if job.out.resolve() in photos), None):
        raise SettingsError((f"{over.label}: " if over.is_row else "") + f"--out: {over.out} is the photo itself; write the edit elsewhere")


def _table_jobs(table: Path, out: Path, asked: dict[str, Any]) -> list[Job]:
    """The rows of a CSV as jobs; a fault names file and row."""
    from mre.editors.settings import EditSettings
    jobs, taken = [], {}
    for number, (line, row) in enumerate(read_table(table, needed=("image",)), 1):
        if unknown := [column for column in row if column not in COLUMNS]:
            raise DataError(f"{table}: unknown column {unknown[0]}; columns are {', '.join(COLUMNS)}")
        label = f"{table}, row {line}"
        values = {name: text.strip() for name, text in row.items() if text.strip()}
        try:
            if "image" not in values:
                raise DataError("no image")
            settings = EditSettings(**{"instruction": "", **asked, "reward": _row_reward(values, asked.get("reward", Reward.best())),
                                       **{name: values[name] for name in (*NUMBERS, "scheduler", "instruction") if name in values},
                                       **_row_put_back(values, table.parent),
                                       **({"fast": _yes_or_no(values, "fast")} if "fast" in values else {})})
            target = out / (values.get("out") or f"{number:04d}-{Path(values['image']).stem}.png")
            if target.suffix.lower() != ".png" or not target.resolve().is_relative_to(out.resolve()):
                raise DataError(f"out must be a .png under --out, got {values.get('out')}")
            if (place := target.resolve()) in taken:
                raise DataError(f"out is the same as that of row {taken[place]}: {values.get('out')}")
        except MreError as error:
            raise DataError(f"{label}: {error}") from error
        taken[place] = line
        jobs.append(Job(table.parent / values["image"], target, settings, label, is_row=True))
    if not jobs:
        raise DataError(f"{table}: no rows")
    return jobs


def _row_put_back(values: dict[str, str], folder: Path) -> dict[str, Any]:
    from mre.masks import Mask
    asked: dict[str, Any] = {"mask": Mask.read(folder / values["mask"])} if "mask" in values else {}
    if "put_back" in values:
        is_put_back = _yes_or_no(values, "put_back")
        if not is_put_back and asked:
            raise DataError("put_back is no and there is a mask; leave out one of the two")
        asked["put_back"] = is_put_back
        if not is_put_back:
            asked["mask"] = None
    return asked


def _yes_or_no(values: dict[str, str], column: str) -> bool:
    if (answer := values[column].lower()) not in ("yes", "no"):
        raise DataError(f"{column} must be yes or no, got {values[column][:40]!r}")
    return answer == "yes"


def _row_reward(values: dict[str, str], reward: Reward) -> Reward:
    scores = (parsed_score(values[name], name) if name in values else wish
              for name, wish in zip(PERSPECTIVES, reward.wishes, strict=True))
    return Reward.of(scores, (values.get(name, text) for name, text in zip(TEXT_COLUMNS, reward.texts, strict=True)))


def _make(editor: Editor, job: Job, readings: list[Reading], *, keep_recipe: bool, progress: Any = None,
          best: BestOf | None = None) -> bool:
    """Make one picture, whole or not at all, and add how its instruction was read to `readings`. Returns False when it is there already,
    made by the same recipe."""
    from mre.imaging import open_image
    photo = open_image(job.image)
    if keep_recipe and _is_made(editor, photo, job, best):
        return False
    if best is None:
        result = editor.edit(photo, job.settings, on_step=progress)
    else:
        from mre.best_of import ranked, told
        candidates = ranked(editor, best.judge, photo, job.settings, best.count)
        print(f"{job.label}: {told(best.judge, candidates)}", file=sys.stderr)
        result = candidates[0].result
    write_whole(job.out, result.png(keep_recipe))
    if result.reading is not None:
        readings.append(result.reading)
    return True


def _is_made(editor: Editor, photo: Any, job: Job, best: BestOf | None = None) -> bool:
    from mre.recipes import RecipeError, read_recipe
    if not job.out.is_file():
        return False
    try:
        there = read_recipe(job.out)
    except RecipeError:
        return False
    editor.prepare()                             # the recipe names the kind of device that the model is on
    from mre.best_of import with_seeds
    asked = [job.settings] if best is None else [one for one in with_seeds(job.settings, best.count) if one.seed == there.seed]
    return any(not there.differences(editor.recipe(photo, one), editor.silent_dtype) for one in asked)


def _make_all(editor: Editor, jobs: list[Job], readings: list[Reading], *, keep_recipe: bool, best: BestOf | None = None) -> int:
    """Make all jobs; those that cannot be made are named and counted, and do not keep the others from being made."""
    from tqdm import tqdm
    editor.prepare()                             # a model that cannot be loaded is one error, not one a picture
    made = skipped = failed = perhaps_paid = 0
    with tqdm(jobs, unit="picture", file=sys.stderr) as rows:
        for job in rows:
            try:
                if _make(editor, job, readings, keep_recipe=keep_recipe, best=best):
                    made += 1
                else:
                    skipped += 1
            except MreError as error:
                failed += 1
                perhaps_paid += isinstance(error, PerhapsPaid)
                text = str(error)
                rows.write("error: " + (text if text.startswith(job.label) else f"{job.label}: {text}"), file=sys.stderr)
    print(f"{made} made, {skipped} already there, {failed} failed" + (f", {perhaps_paid} of them perhaps paid" if perhaps_paid else ""))
    return 1 if failed else 0
