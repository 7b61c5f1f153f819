"""Create, run and export human-evaluation studies.

    python -m mre study create photos --edits out/bench --per-pair 3 --repeats 5
    python -m mre study start photos
    python -m mre study status photos
    python -m mre study export photos --out photos.csv
    python -m mre study table photos --out photos-table

Studies live in data/studies.db, or in the database that --database names. `python app.py` shows running studies to annotators.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mre.commands import study_people, study_planning
from mre.rewards import PERSPECTIVES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str, *, study: bool = True) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.add_argument("--data", type=Path, default=Path("data"), help="folder of the SQLite store (default: data)")
        sub.add_argument("--database", help="SQLAlchemy URL, such as postgresql://user@host/name, instead of the SQLite store")
        if study:
            sub.add_argument("name", metavar="NAME", help="the study's name")
        return sub

    _add_design(create := verb("create", "make a draft study from edits"))
    create.add_argument("--edits", nargs="+", type=Path, required=True, metavar="PATH",
                        help="folders OUT/METHOD/ITEM.png with their edits.csv, or CSV or JSONL tables of edits")
    create.add_argument("--methods", help="compare only these, such as tiny,tiny-baseline (default: all in the table)")
    create.add_argument("--fit", action="store_true", help="resize edits to their original's size instead of refusing them")
    create.add_argument("--start", action="store_true", help="open it to annotators at once")
    _add_design(verb("revise", "make a new draft version of a study with the same edits and other settings"))
    _add_design(verb("change", "change settings of a draft"))
    verb("list", "show all studies", study=False)
    status = verb("status", "show coverage, annotators and agreement")
    status.add_argument("--json", action="store_true", help="as JSON")
    start = verb("start", "open a study to annotators; from then on it is frozen")
    for opens in (create, start):
        opens.add_argument("--serving-judge", default="tiny-judge", metavar="JUDGE",
                           help="whom the pairs that are served first are to teach, where the study's --serving is not random: tiny-judge, "
                                "or a folder that train-judge wrote (default: %(default)s)")
    verb("pause", "hand out nothing new for now")
    verb("close", "end a study for good")

    export = verb("export", "write all ratings to a file")
    export.add_argument("--out", type=Path, required=True, metavar="FILE")
    form = export.add_mutually_exclusive_group()
    form.add_argument("--wide", action="store_true", help="one row per screen and shown image instead of one per score")
    form.add_argument("--jsonl", action="store_true", help="JSON lines, one per score")
    export.add_argument("--bom", action="store_true", help="begin with a byte-order mark, for spreadsheets that need one")
    export.add_argument("--revisions", action="store_true", help="earlier answers too, not only final ones")
    export.add_argument("--without-excluded", action="store_true", help="leave out annotators who are excluded from the analysis")
    export.add_argument("--simulated", action="store_true", help="simulated annotators among people too")
    verb("import", "make a closed study from an exported file").add_argument("file", type=Path, metavar="FILE")
    table = verb("table", "write the paper's Table 3 with intervals, tests and effect sizes, as CSV, Markdown and LaTeX")
    table.add_argument("--out", type=Path, metavar="PREFIX", help="write PREFIX.csv, .md and .tex (default: Markdown on screen)")
    table.add_argument("--everyone", action="store_true", help="annotators who are excluded from the analysis too, and simulated ones")

    study_people.add_verbs(verb)
    order = verb("order", "draw the sides of a closed study's exported file again from its secret, and compare", study=False)
    order.add_argument("file", type=Path, metavar="FILE")
    verb("verify", "check the log's seals, and the ratings against the log")
    verb("backup", "copy the whole SQLite store while people go on working", study=False).add_argument("--out", type=Path, required=True)

    invite = verb("invite", "print signed links that let annotators take part where the studio asks for accounts")
    invite.add_argument("--count", type=int, default=10, help="personal links (default: 10)")
    invite.add_argument("--many", action="store_true", help="one link for many people instead; everybody who follows it is a new annotator")
    invite.add_argument("--address", default="http://127.0.0.1:7860", help="where the studio is reached (default: %(default)s)")
    visitors = verb("invite-visitors", "print a signed link that opens the editor to visitors", study=False)
    visitors.add_argument("--address", default="http://127.0.0.1:7860", help="where the studio is reached (default: %(default)s)")
    account = verb("account", "add an account to a file for `python app.py --auth`, or change it; asks for the password", study=False)
    account.add_argument("file", type=Path, metavar="FILE")
    account.add_argument("account", metavar="NAME")
    account.add_argument("--role", choices=("visitor", "annotator", "researcher"), required=True)

    rotate = verb("rotate-secret", "replace the secret that signs invitations: they end, and so do all sessions", study=False)
    rotate.add_argument("--lost", action="store_true",
                        help="the old secrets cannot be had any more: make all new, and people who come back are new annotators")

    demo = verb("demo", "make the demo study, or with --out its folder of edits by the embedded models", study=False)
    demo.add_argument("--out", type=Path, metavar="FOLDER", help="draw scenes, edit them with both embedded models and write the folder")
    demo.add_argument("--models", default="tiny-baseline,tiny", help="methods to edit with (default: %(default)s)")

    study_planning.add_verbs(verb)


def _add_design(parser: argparse.ArgumentParser) -> None:
    """Flags of StudyDesign's fields; one that is not given keeps its default."""
    from mre.study.design import StudyDesign

    default = StudyDesign()
    for name, kind, text in (
            ("title", str, "what annotators see as the study's name"), ("per_pair", int, "annotators who score each pair"),
            ("repeats", float, "hidden repeats, per cent of an annotator's pairs"),
            ("repeat_gap", int, "screens between a pair and its repeat, at least"),
            ("checks", float, "attention checks, per cent of an annotator's pairs"),
            ("max_screens", int, "pairs for one annotator at most; 0: no limit"),
            ("lease_minutes", float, "a screen left alone this long goes to somebody else"),
            ("min_seconds", float, "least time on a screen"),
            ("break_every", int, "screens after which the page suggests a break; 0: never"),
            ("seed", int, "of the order in simulated copies; the study's own order is drawn from a secret"),
            ("consent", str, "text in place of the page's own consent text"),
            ("instructions", str, "text below the page's own instructions"),
            ("completion_code", str, "one code for everybody (default: each annotator gets their own)"),
            ("completion_share", float, "share of an annotator's screens that must be scored for the code; 0: all gone through will do"),
            ("completion_url", str, "https address where annotators with a code go on; {code} in it becomes the code"),
            ("max_pair_skips", int, "a pair that so many annotators skip is set aside; 0: never"),
            ("rules_after", int, "screens of an annotator before their share of skips and their pace are judged"),
            ("max_skip_share", float, "share of skipped screens above which a visit ends; 1: never"),
            ("max_failed_checks", int, "failed attention checks that end a visit; 0: never"),
            ("min_median_seconds", float, "median seconds of the latest scored screens below which a visit ends; 0: never")):
        shown = getattr(default, name)
        parser.add_argument("--" + name.replace("_", "-"), type=kind, help=f"{text} (default: {shown})" if shown != "" else text)
    for name, text in (("allow_flip", "pictures may be shown in each other's place"), ("allow_phone", "phones may be used")):
        parser.add_argument("--" + name.replace("_", "-"), action=argparse.BooleanOptionalAction, help=f"{text} (default: yes)")
    parser.add_argument("--serving", metavar="random|informative|mixed",
                        help="which pairs come first: drawn; those whose ratings teach a judge most; or these for half of the annotators, "
                             "drawn for the others (default: random)")
    parser.add_argument("--keep-recruiting-id", action=argparse.BooleanOptionalAction,
                        help="keep the id that a recruiting service gave an annotator, encrypted, to pay them (default: no)")
    parser.add_argument("--pairs", help="method pairs to compare, such as a:b,a:c (default: all)")
    parser.add_argument("--languages", help="languages of the annotator's page (default: en,zh)")


def run(args: argparse.Namespace) -> int | None:
    from mre.private import private_umask

    if args.verb in WITHOUT_STORE:
        return WITHOUT_STORE[args.verb](args)
    with private_umask():                # exports hold what people answered
        return _run(args)


def _run(args: argparse.Namespace) -> int | None:
    from mre.study.intake import StudyFaults
    from mre.study.store import Store

    store = Store.open(args.data, args.database)
    try:
        return VERBS[args.verb](store, args)
    except StudyFaults as error:
        for fault in error.faults:
            print(fault, file=sys.stderr)
        raise
    finally:
        store.close()


def _design_changes(args: argparse.Namespace) -> dict:
    from dataclasses import fields

    from mre.errors import StudyError
    from mre.study.design import StudyDesign

    changes = {field.name: getattr(args, field.name) for field in fields(StudyDesign) if getattr(args, field.name, None) is not None}
    if "pairs" in changes:
        changes["pairs"] = tuple(tuple(pair.split(":")) for pair in changes["pairs"].split(","))
        if any(len(pair) != 2 for pair in changes["pairs"]):
            raise StudyError(f"pairs must look like a:b,a:c, got {args.pairs!r}")
    if "languages" in changes:
        changes["languages"] = tuple(changes["languages"].split(","))
    return changes


def _create(store, args) -> None:
    from tqdm import tqdm

    from mre.study import studies
    from mre.study.design import StudyDesign

    design = StudyDesign(**_design_changes(args))
    methods = tuple(args.methods.split(",")) if args.methods else ()
    with tqdm(unit="item", leave=False, disable=None, desc="reading pictures") as bar:
        def on_item(number: int, total: int) -> None:
            bar.total = total
            bar.update(number - bar.n)
        study = studies.create_from_edits(store, args.name, args.edits, design, methods=methods, fit=args.fit, on_item=on_item)
    if args.start:
        study = _started(store, args)
    _say(study)


def _started(store, args):
    from mre.families import named
    from mre.study import studies
    from mre.study.records import find_study

    if find_study(store, args.name).awaits_judge:
        return named("mre.training.judges.serving:start_serving")(store, args.name, args.serving_judge)
    return studies.start(store, args.name)


def _say(study) -> None:
    joinable = study.state == "running" and not study.simulated
    print(f"{study.name}: {study.state}" + (", simulated" if study.simulated else "")
          + (f", annotators go to /study/s/{study.public_id}" if joinable else ""))


def _revise(store, args) -> None:
    from mre.study import studies
    _say(studies.revise(store, args.name, **_design_changes(args)))


def _change(store, args) -> None:
    from mre.study import studies
    _say(studies.change_design(store, args.name, **_design_changes(args)))


def _start(store, args) -> None:
    _say(_started(store, args))


def _pause(store, args) -> None:
    from mre.study import studies
    _say(studies.pause(store, args.name))


def _close(store, args) -> None:
    from mre.study import studies
    _say(studies.close(store, args.name))


def _list(store, args) -> None:
    from mre.study import records
    for study in records.all_studies(store):
        _say(study)


def _export(store, args) -> None:
    from mre.study.export import export_file
    from mre.study.records import find_study
    form = "wide" if args.wide else "jsonl" if args.jsonl else "long"
    rows = export_file(store, args.name, args.out, form, bom=args.bom, revisions=args.revisions,
                       without_excluded=args.without_excluded, simulated=args.simulated)
    print(f"{args.out}: {rows} rows")
    print(f"order: {find_study(store, args.name).order_words}")


def _import(store, args) -> None:
    from tqdm import tqdm

    from mre.study.importer import import_file

    with tqdm(leave=False, disable=None, unit="", unit_scale=True, delay=1) as bar:
        def on_progress(stage: str, done: int, total: int) -> None:
            if bar.disable:                     # no terminal
                return
            if stage != bar.desc.removesuffix(": "):
                bar.reset()
                bar.set_description(stage)
            bar.total = total
            bar.update(done - bar.n)
        study = import_file(store, args.name, args.file, on_progress=on_progress)
    _say(study)


def _status(store, args) -> None:
    import json
    from dataclasses import asdict

    from mre.study import figures, records
    from mre.study.dashboard import dashboard

    data = dashboard(store, args.name)
    agreement = figures.agreement(store, args.name)
    if args.json:
        data["agreement"] = {perspective: {name: asdict(figure) for name, figure in found.items()}
                             for perspective, found in agreement.items()}
        print(json.dumps(data, ensure_ascii=False, indent=1))
        return
    if data["study"]["simulated"]:
        print(f"{args.name} is simulated: no person took part")
    elif drawn := sum(row["simulated"] for row in data["annotators"]):
        print(f"{drawn} of the annotators are simulated; they are left out of means, tables and exports")
    done = data["coverage"]
    if records.find_study(store, args.name).before_rules:
        print("This study began before studies stated rules of taking part, and goes on as its annotators were told: no rule ends a visit, "
              "and whoever has gone through all screens has a completion code. Skipped pairs are offered to others again.")
    print(f"{args.name}: {done['pairs_complete']} of {done['pairs']} pairs complete, {done['per_pair']} scores each"
          + (f"; {done['pairs_set_aside']} set aside, skipped by too many" if done["pairs_set_aside"] else ""))
    print(f"screens: {done['slots_done']} scored, {done['slots_held']} on screens, {done['slots_open']} open"
          + (f", {done['slots_set_aside']} set aside" if done["slots_set_aside"] else "") + f"; {done['skipped']} skipped")
    if done["slots_excluded"]:
        print(f"{done['slots_excluded']} of the scored screens are by excluded annotators; `study recollect` gives their pairs to others")
    if done["surplus"]:
        print(f"{done['surplus']} scored screens more than asked for, of annotators who were taken in again")
    print(f"order: {data['study']['order']}")
    for pair in data["skipped_pairs"]:
        reasons = ", ".join(f"{reason} {count}" for reason, count in pair["reasons"].items())
        print(f"skipped {pair['skips']} times{', set aside' if pair['set_aside'] else ''}: {pair['item']}, {pair['first_method']} and "
              f"{pair['second_method']} ({reasons}); {pair['scored']} scored")
    print(f"{'annotator':<12} {'screens':>7} {'skipped':>7} {'seconds':>7}  " + "  ".join(f"{name:>10}" for name in PERSPECTIVES)
          + f"  {'straight':>8} {'repeat error':>12} {'checks failed':>13}")
    for row in data["annotators"]:
        print(f"{row['annotator']:<12} {row['screens']:>7} {row['skipped']:>7} {_short(row['mean_seconds'], 1):>7}  "
              + "  ".join(f"{_short(mean):>10}" for mean in row["means"])
              + f"  {_short(row['straight_lines']):>8} {_short(row['repeat_error']):>12} {row['checks_failed']:>6} of {row['checks']}"
              + (f"  excluded: {row['excluded']}" if row["excluded"] else ""))
    excluded = f", without the {done['excluded']} excluded annotators" if done["excluded"] else ""
    print(f"from final scores of pairs{excluded}: means over items as in `study table`, agreement, position bias")
    for row in data["methods"]:
        print(f"{row['method']:<20} {row['perspective']:<10} mean {row['mean']:.3f}  sd between items {_short(row['sd'])}  "
              f"{row['items']} items, {row['n']} scores")
    for perspective, found in agreement.items():
        print(f"{perspective:<10} " + ", ".join(f"{AGREEMENT[name]} {_with_interval(figure)}" for name, figure in found.items()))
    for note in dict.fromkeys(found["icc"].note for found in agreement.values() if found["icc"].defined):
        print(f"ICC(2,1): {note}")
    print("Edited Image 1 minus 2: " + ", ".join(f"{perspective} {_with_interval(figures.Figure(**figure))}"
                                                 for perspective, figure in data["position_bias"].items()))


AGREEMENT = {"krippendorff_alpha": "Krippendorff's alpha (ordinal)", "weighted_kappa": "weighted kappa", "icc": "ICC(2,1)"}


def _short(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _with_interval(figure) -> str:
    if figure.value is None:
        return figure.note
    return f"{figure.value:.3f}" + ("" if figure.low is None else f" [{figure.low:.3f}, {figure.high:.3f}]")


def _table(store, args) -> None:
    from mre.files import write_whole
    from mre.study.table import FORMS, study_table

    table = study_table(store, args.name, everyone=args.everyone)
    if not args.out:
        print(table.written("md"), end="")
        return
    for form in FORMS:
        path = args.out.with_name(f"{args.out.name}.{form}")
        write_whole(path, table.written(form))
        print(path)


def _order(args) -> int:
    """Needs the file alone, no store."""
    from mre.study.rebuild import rebuild_sides

    found = rebuild_sides(args.file)
    for fault in found.faults:
        print(fault, file=sys.stderr)
    print(f"{args.file}: {found.agree} of {found.agree + len(found.faults)} screens stand as the order says; "
          f"{found.untold} checks show one edit on both sides")
    print(f"order_seed: {found.cell}" + (f"; while the study ran: {found.commitment}" if found.commitment else ""))
    for pair, first in sorted(found.first_methods.items(), key=str):
        print(f"side order 0: {first} is Edited Image 1, {', '.join(pair - {first})} is 2")
    return 1 if found.faults else 0


def _verify(store, args) -> int:
    from mre.study import events
    from mre.study.records import find_study

    study = find_study(store, args.name)
    with store.read() as connection:
        faults = events.verify(connection, study.id)
    for fault in faults:
        print(fault)
    print(f"{args.name}: " + (f"{len(faults)} faults" if faults else "the log is whole and the ratings follow from it"))
    return 1 if faults else 0


def _backup(store, args) -> None:
    store.backup(args.out)
    print(args.out)


def _account(args) -> None:
    import getpass

    from mre.study.accounts import write_account

    password = getpass.getpass(f"password for {args.account}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    write_account(args.file, args.account, args.role, password)
    print(f"{args.file}: {args.account} is a {args.role}")


def _invite(store, args) -> None:
    from mre.study.accounts import invite
    from mre.study.studies import invitable

    study = invitable(store, args.name)
    for _ in range(1 if args.many else args.count):
        print(f"{args.address}/join?invitation={invite(store.secret, 'annotator', study.public_id, personal=not args.many)}")


def _invite_visitors(store, args) -> None:
    from mre.study.accounts import invite
    print(f"{args.address}/join?invitation={invite(store.secret, 'visitor')}")


def _rotate_secret(store, args) -> None:
    from mre.study import sessions

    store.rotate_keys(lost=args.lost)
    print(f"{sessions.end_all(store)} sessions have ended: everybody signs in again, from a device that counts as new")
    print("invitation links given out until now open nothing any more; `study invite` and `study invite-visitors` print new ones")
    print("annotators who have begun go on in the browser where they began, or with their personal code" if not args.lost else
          "annotators go on only in the browser where they began; personal codes are void, and whoever comes back by an account, a link or "
          "a recruiting service's id is a new annotator; kept ids of recruiting services cannot be read; restart a server that is running")


def _demo(store, args) -> None:
    from tqdm import tqdm

    from mre.editors.kinds import make_editor
    from mre.errors import StudyError
    from mre.study import demo

    if args.out is None:
        if (study := demo.ensure_demo(store)) is None:
            why = "the store has studies of its own" if demo.FOLDER.is_dir() else f"{demo.FOLDER.name} is not shipped here"
            raise StudyError(f"no demo study: {why}")
        _say(study)
        return
    with tqdm(unit="edit", leave=False, disable=None, desc="editing") as bar:
        def on_edit(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)
        made = demo.make_edits(args.out, tuple(args.models.split(",")), editor_of=make_editor, on_edit=on_edit)
        print(f"{args.out}: {made} edits")


WITHOUT_STORE = {"account": _account, "order": _order}
VERBS = {"create": _create, "revise": _revise, "change": _change, "list": _list, "status": _status, "start": _start, "pause": _pause,
         "close": _close, "export": _export, "import": _import, "table": _table, "verify": _verify, "backup": _backup,
         "invite": _invite, "demo": _demo, "invite-visitors": _invite_visitors,
         "rotate-secret": _rotate_secret, **study_people.VERBS, **study_planning.VERBS}
