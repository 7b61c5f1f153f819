"""Readers of the public sets by which judges are measured. A new one is a function and an entry in SETS. No torch here.

What a file lacks is an error that names it; a picture that is not there, a doubled entry or one that contradicts another is no error: it is
counted, and what is left goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mre.benchmark.formats.choices import BAD, GOOD, Choice, Edit, JudgeSet, Rating, once, pairs_of_ranks, ranks_of
from mre.errors import DataError
from mre.files import read_json

VOTES = {"leftvote": (1, 0), "rightvote": (0, 1), "tievote": (0, 0), "bothbad_vote": (0, 0)}
TIES = {"tievote": GOOD, "bothbad_vote": BAD}
ASPECTS = {"prompt_following": "following", "consistency": "preserving", "overall": "overall"}


def genai_bench(folder: Path) -> JudgeSet:
    """GenAI-Bench, image_edition: its Parquet files, or `valid_set2_full.json` as EditReward's evaluation reads it."""
    if listing := _one(folder, "valid_set2_full.json"):
        return once("genai-bench", _pairs_of_json(listing))
    return once("genai-bench", _genai_rows(folder))


def _genai_rows(folder: Path) -> Iterator[Choice]:
    columns = ("instruct_prompt", "source_image", "left_model", "left_output_image", "right_model", "right_output_image", "vote_type")
    for name, row in _parquet_rows(folder, columns):
        if row["vote_type"] not in VOTES:
            raise DataError(f"{name}: vote_type must be one of {', '.join(VOTES)}, got {row['vote_type']!r}")
        edits = tuple(Edit(f"{name}/{side}", _bytes(row[f"{side}_output_image"]), row[f"{side}_model"] or "") for side in ("left", "right"))
        yield Choice(name, row["instruct_prompt"], _bytes(row["source_image"]), name, edits, pairs_of_ranks(VOTES[row["vote_type"]]),
                     tie=TIES.get(row["vote_type"], ""))


def aurora_pairs(folder: Path) -> JudgeSet:
    """AURORA's pairs: `valid_aurora_human_ratings_pairwise.json`."""
    return once("aurora-pairs", _pairs_of_json(_need(folder, "valid_aurora_human_ratings_pairwise.json")))


def _pairs_of_json(path: Path) -> Iterator[Choice]:
    for where, row in _entries(path, ("prompt", "path_src", "path1", "path2", "model1_dim1_score", "model2_dim1_score")):
        edits = tuple(Edit(row[f"path{side}"], path.parent / row[f"path{side}"], row.get(f"model{side}") or "") for side in (1, 2))
        ranks = [_number(row[f"model{side}_dim1_score"], f"{where}: model{side}_dim1_score") for side in (1, 2)]
        name = "|".join((row["prompt"], row["path_src"], *(edit.name for edit in edits)))
        yield Choice(name, row["prompt"], path.parent / row["path_src"], row["path_src"], edits, pairs_of_ranks(ranks))


def aurora(folder: Path) -> JudgeSet:
    """AURORA's ratings of single edits: `valid_aurora_human_ratings_pointwise.json`."""
    return _ratings("aurora", _need(folder, "valid_aurora_human_ratings_pointwise.json"), ("prompt", "input", "gen", "score", "model"))


def imagenhub(folder: Path) -> JudgeSet:
    """ImagenHub's ratings of single edits: `valid_imagenhub_processed.json`."""
    return _ratings("imagenhub", _need(folder, "valid_imagenhub_processed.json"),
                    ("instruction", "input_path", "output_path", "score", "model"))


def _ratings(name: str, path: Path, keys: Sequence[str]) -> JudgeSet:
    prompt, original, edited, score, model = keys
    found: dict[str, Rating] = {}
    refused: dict[str, str] = {}
    for where, row in _entries(path, keys):
        rating = Rating(row[prompt], path.parent / row[original], row[original],
                        Edit(row[edited], path.parent / row[edited], row[model]), _number(row[score], f"{where}: {score}"))
        if found.setdefault(rating.edit.name, rating) != rating:
            refused[rating.edit.name] = "conflict"
    return JudgeSet(name, ratings=tuple(one for key, one in found.items() if key not in refused), refused=refused)


def editreward_bench(folder: Path) -> JudgeSet:
    """TIGER's EditReward-Bench: `EditReward_Bench_{2,3,4}pair.json`, or the folders 2pair, 3pair and 4pair of Parquet files."""
    listings = [path for path in (_one(folder, f"EditReward_Bench_{ways}pair.json") for ways in (2, 3, 4)) if path]
    if listings:
        return once("editreward-bench", (choice for path in listings for choice in _tiger_json(path)))
    return once("editreward-bench", (choice for ways in (2, 3, 4) if (folder / f"{ways}pair").is_dir()
                                     for choice in _tiger_rows(folder / f"{ways}pair", ways)))


def _tiger_json(path: Path) -> Iterator[Choice]:
    for where, row in _entries(path, ("prompt", "path_src", "paths_generated", "human_vote")):
        names, vote = row["paths_generated"], row["human_vote"]
        if not isinstance(names, list) or len(names) < 2 or not isinstance(vote, dict):
            raise DataError(f"{where}: needs paths_generated, two or more, and human_vote with a ranking")
        ranks = ranks_of(str(vote.get("ranking")), len(names), where)
        edits = tuple(Edit(str(name), path.parent / str(name)) for name in names)
        yield Choice("|".join((row["prompt"], row["path_src"], *map(str, names))), row["prompt"], path.parent / row["path_src"],
                     row["path_src"], edits, pairs_of_ranks(ranks))


def _tiger_rows(folder: Path, ways: int) -> Iterator[Choice]:
    """Rows are comparisons of two of a group's edits, GROUP_AvsB; the two-way set has one row a group."""
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    columns = ("id", "instruction", "ranking", "source_image", "candidate_1", "candidate_2", "comparison_type")
    for name, row in _parquet_rows(folder, columns):
        kind = str(row["comparison_type"])
        if len(kind) != 4 or kind[1:3] != "vs":
            raise DataError(f"{name}: comparison_type must look like AvsB, got {kind!r}")
        group = str(row["id"]).removesuffix(f"_{kind}")
        known = groups.setdefault(group, {})
        if kind in known and known[kind]["ranking"] != row["ranking"]:
            known[kind] = {**row, "ranking": ""}                # the same pair in two orders
        else:
            known.setdefault(kind, row)
    for group, rows in groups.items():
        letters = [chr(ord("A") + place) for place in range(ways)]
        edits: dict[str, Edit] = {}
        pairs = []
        for kind, row in rows.items():
            first, second = kind[0], kind[3]
            for letter, side in ((first, "candidate_1"), (second, "candidate_2")):
                edits.setdefault(letter, Edit(f"{folder.name}/{group}/{letter}", _bytes(row[side])))
            pairs.append((letters.index(first), letters.index(second), _sign(row["ranking"], first, second)))
        row = next(iter(rows.values()))
        clear = all(sign is not None for _, _, sign in pairs)
        yield Choice(f"{folder.name}/{group}", row["instruction"], _bytes(row["source_image"]), f"{folder.name}/{group}",
                     tuple(edits[letter] for letter in letters if letter in edits),
                     tuple((first, second, sign) for first, second, sign in pairs if sign is not None) if clear else ())


def _sign(ranking: str, first: str, second: str) -> int | None:
    plain = ranking.replace(" ", "").upper()
    if plain == f"{first}>{second}":
        return 1
    if plain == f"{second}>{first}":
        return -1
    return 0 if "=" in plain else None


def editscore_bench(folder: Path) -> JudgeSet:
    """EditScore's EditReward-Bench: Parquet files whose first output is the better one, on prompt following, consistency or overall."""
    return once("editscore-bench", _editscore_rows(folder))


def _editscore_rows(folder: Path) -> Iterator[Choice]:
    for name, row in _parquet_rows(folder, ("key", "input_image", "output_images", "instruction", "task_type", "dimension")):
        if len(row["key"] or ()) != 2 or len(row["output_images"] or ()) != 2 or row["dimension"] not in ASPECTS:
            raise DataError(f"{name}: needs two keys, two output_images and a dimension of {', '.join(ASPECTS)}")
        first, second = row["key"]
        edits = tuple(Edit(f"{first}|{second}|{row['instruction']}/{side}", _bytes(picture))
                      for side, picture in zip(row["key"], row["output_images"], strict=True))
        yield Choice(f"{first}|{second}|{row['dimension']}|{row['task_type']}", row["instruction"], _bytes(row["input_image"]),
                     f"{first}|{second}", edits, ((0, 1, 1),), ASPECTS[row["dimension"]], row["task_type"])


def mmrb2(folder: Path) -> JudgeSet:
    """MMRB2, task edit: `edit.json`. Pairs with several photos, or without exactly one picture a response, are refused."""
    path = _one(folder, "edit.json") or _need(folder, "edit.json")
    content = read_json(path)
    rows = content.get("pairs") if isinstance(content, dict) else None
    if not isinstance(rows, list):
        raise DataError(f"{path}: must be an object with a list of pairs")
    choices, refused = [], {}
    for number, row in enumerate(rows):
        name = row.get("id") or row.get("pair_id") if isinstance(row, dict) else None
        if not name or row.get("chosen") not in ("A", "B"):
            raise DataError(f"{path}: pairs[{number}]: needs an id, and chosen, A or B")
        photos, texts = _parts(row.get("prompt_content"), "image"), _parts(row.get("prompt_content"), "text")
        responses = [row.get(f"response_{side}") or {} for side in "ab"]
        pictures = [_parts(response.get("response_content"), "image") for response in responses]
        if len(photos) != 1 or any(len(found) != 1 for found in pictures) or not texts:
            refused[name] = "several_pictures"
            continue
        edits = tuple(Edit(f"{name}/{side}", path.parent / found[0], str(response.get("model_name") or response.get("model") or ""))
                      for side, found, response in zip("AB", pictures, responses, strict=True))
        better = 1 if row["chosen"] == "A" else -1
        choices.append(Choice(name, " ".join(texts), path.parent / photos[0], photos[0], edits, ((0, 1, better),)))
    found = once("mmrb2", choices)
    return JudgeSet("mmrb2", found.choices, refused={**refused, **found.refused})


def _parts(content: Any, kind: str) -> list[str]:
    return [str(value) for part in content or () if isinstance(part, list) and len(part) == 2 for name, value in [part] if name == kind]


SETS: Mapping[str, Callable[[Path], JudgeSet]] = {
    "genai-bench": genai_bench, "aurora": aurora, "aurora-pairs": aurora_pairs, "imagenhub": imagenhub,
    "editreward-bench": editreward_bench, "editscore-bench": editscore_bench, "mmrb2": mmrb2}


def open_judge_set(name: str, folder: Path) -> JudgeSet:
    """A set by name, from the folder that it lies in. Raises DataError that names the file and the entry."""
    if name not in SETS:
        raise DataError(f"--set must be one of {', '.join(SETS)}, got {name!r}")
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    return SETS[name](folder)


# -- files ------------------------------------------------------------------------------------------------------------------------


def _one(folder: Path, name: str) -> Path | None:
    """The file of this name in the folder, or in one directly inside it."""
    return next((path for path in (folder / name, *sorted(folder.glob(f"*/{name}"))) if path.is_file()), None)


def _need(folder: Path, name: str) -> Path:
    found = _one(folder, name)
    if found is None:
        raise DataError(f"{folder}: {name} is missing")
    return found


def _entries(path: Path, needed: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    content = read_json(path)
    if not isinstance(content, list):
        raise DataError(f"{path}: must be a list of entries")
    for number, row in enumerate(content):
        if not isinstance(row, dict) or any(row.get(name) is None for name in needed):
            lacking = next((name for name in needed if not isinstance(row, dict) or row.get(name) is None), "")
            raise DataError(f"{path}: entry {number}: has no {lacking}")
        yield f"{path}: entry {number}", row


def _parquet_rows(folder: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of the Parquet files in a folder, or in one directly inside it, a row group at a time."""
    from pyarrow import ArrowInvalid, parquet

    files = sorted(folder.glob("*.parquet")) or sorted(folder.glob("*/*.parquet"))
    if not files:
        raise DataError(f"{folder}: holds no Parquet files")
    for path in files:
        try:
            file = parquet.ParquetFile(path)
            if missing := [name for name in columns if name not in file.schema_arrow.names]:
                raise DataError(f"{path}: has no column {missing[0]}")
            number = 0
            for group in range(file.num_row_groups):
                for row in file.read_row_group(group, columns=list(columns)).to_pylist():
                    yield f"{path.name}#{number}", row
                    number += 1
        except (OSError, ArrowInvalid) as error:
            raise DataError(f"{path}: cannot be read: {error}") from error


def _bytes(value: Any) -> bytes:
    """The bytes of a picture in a Parquet cell; empty where there are none."""
    return (value or {}).get("bytes") or b""


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{where} must be a number, got {value!r}")
    return float(value)
