"""Verbs of `python -m mre study` that try a design before anybody is asked: simulated annotators and power."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def add_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the parsers; `verb` makes one for a name and a text."""
    simulate = verb("simulate", "let simulated annotators score a copy of a study, to try a design before paying for it")
    for name, kind, default, text in (
            ("annotators", int, 10, "how many"), ("seed", int, 0, "of the drawing"),
            ("noise", float, 0.8, "standard deviation of one score"),
            ("bias", float, 0.3, "standard deviation between annotators"), ("careless", float, 0.1, "share who score at random"),
            ("fatigue", float, 0.2, "growth of the noise over 100 screens"), ("skip", float, 0.01, "share of screens skipped")):
        simulate.add_argument("--" + name, type=kind, default=default, help=f"{text} (default: {default})")
    simulate.add_argument("--gap", default="0.25,0.28,0.15", help="last method over first, per perspective (default: the paper's Table 3)")
    power = verb("power", "say how many annotators and items find a given gap", study=False)
    power.add_argument("--gap", type=float, default=0.25, help="difference of means to find (default: 0.25)")
    power.add_argument("--items", type=int, nargs="+", default=[80, 160, 280, 560])
    power.add_argument("--annotators", type=int, nargs="+", default=[1, 3, 5, 10], help="annotators per pair")
    power.add_argument("--pilot", metavar="STUDY", help="take the spreads from this study")
    power.add_argument("--perspective", default="following", help="of the pilot (default: following)")
    power.add_argument("--between", type=float, default=0.85, help="spread of the true difference over items (default: 0.85)")
    power.add_argument("--within", type=float, default=1.13, help="of one annotator's difference about it (default: 1.13)")


def _simulate(store, args) -> None:
    from tqdm import tqdm

    from mre.study.simulate import Crowd, simulate

    crowd = Crowd(annotators=args.annotators, seed=args.seed, noise=args.noise, bias=args.bias, careless=args.careless,
                  fatigue=args.fatigue, skip=args.skip, gap=_three_numbers(args.gap))
    with tqdm(unit="screen", leave=False, disable=None, desc="scoring") as bar:
        copy, screens = simulate(store, args.name, crowd, on_screen=lambda count: bar.update(count - bar.n))
    print(f"{copy.name}: {args.annotators} simulated annotators answered {screens} screens of this copy; {args.name} is as it was")


def _three_numbers(text: str) -> tuple[float, float, float]:
    from mre.errors import StudyError
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 3:
        raise StudyError(f"gap must be three numbers with commas between, such as 0.25,0.28,0.15; got {text!r}")
    return numbers


def _power(store, args) -> None:
    from mre.study.power import power, spreads_of

    between, within = spreads_of(store, args.pilot, args.perspective) if args.pilot else (args.between, args.within)
    rows = [(annotators, [power(args.gap, items, annotators, between=between, within=within) for items in args.items])
            for annotators in args.annotators]
    print(f"power to find a gap of {args.gap:g} (paired t-test over items, two-sided 5 %); spread between items {between:.2f}, "
          f"of one annotator {within:.2f}")
    print(f"{'annotators':>10} " + " ".join(f"{f'{items} items':>10}" for items in args.items) + "  items for 80 %")
    for annotators, found in rows:
        print(f"{annotators:>10} " + " ".join(f"{one.power:>10.3f}" for one in found) + f"  {found[0].items_needed:>14}")


VERBS = {"simulate": _simulate, "power": _power}
