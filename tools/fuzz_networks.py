"""Random networks → how many compile exactly, how many are refused and why; exits with 1 if any is wrong.

tools/fuzz_networks.py --count 10000 --seed 0 --jobs 2 [--record found.jsonl]

With --record each network's outcome is written down as it comes, and one that is there already is not run again.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

import fxprune
from fxprune.errors import FxpruneError, RewriteError
from tests.ideal import draw_known, units_found
from tests.networks import SHAPES, Case, Last, Network, Step, draw_case
from tests.oracle import exact


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one network."""

    seed: int
    kind: str  # exact, refused, WRONG, TRACEBACK, or no network: what was drawn does not run
    why: str = ""
    params: tuple[int, int] = (0, 0)
    channels: tuple[int, int] = (0, 0)  # units that may go, units there are
    protected: tuple[str, ...] = ()


def outcome(seed: int, case: Case) -> Outcome:
    """Compile one case and ask the oracle."""
    images = [torch.rand(shape, generator=torch.Generator().manual_seed(seed)) for shape in SHAPES]
    try:
        with torch.no_grad():
            case.network(images[0].clone())
    except RuntimeError as error:
        return Outcome(seed, "no network", str(error).splitlines()[0])  # torch itself refuses what was drawn
    before = {name: tensor.clone() for name, tensor in case.network.state_dict().items()}
    training = case.network.training
    try:
        compiled = fxprune.compile(case.spec, case.network, images[0])
    except RewriteError as error:
        return Outcome(seed, "WRONG", f"{type(error).__name__}: {error.diagnostics[0].message}")
    except FxpruneError as error:
        return Outcome(seed, "refused", f"{type(error).__name__}: {error.diagnostics[0].message}")
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return Outcome(seed, "TRACEBACK", f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})")
    after = case.network.state_dict()
    if case.network.training != training or any(not torch.equal(before[n], after[n]) for n in before):
        return Outcome(seed, "WRONG", "the model was changed")
    for image in images:
        same, apart = exact(case.network, compiled.kept, compiled.module, (image,))
        if not same:
            return Outcome(seed, "WRONG", f"the oracle finds {apart:.1e} at {tuple(image.shape)}")
    rows = compiled.report.groups
    free = sum(row.before for row in rows if row.kind != "protected")
    return Outcome(
        seed,
        "exact",
        params=compiled.report.params,
        channels=(free, sum(row.before for row in rows)),
        protected=tuple(row.why or "" for row in rows if row.kind == "protected"),
    )


def run(seed: int) -> Outcome:
    """One seed."""
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return outcome(seed, draw_case(Random(seed)))


def measured(seed: int) -> tuple[int, int, int]:
    """On a network of which it is known: units found, units there are, layers where they differ."""
    torch.set_num_threads(1)
    known = draw_known(Random(seed))
    groups = fxprune.analyze(known.network, torch.rand(1, 3, 8, 6))
    layers = {path: units_found(groups, path) for path in known.units}
    return (
        sum(map(len, layers.values())),
        sum(map(len, known.units.values())),
        sum(layers[path] != known.units[path] for path in layers),
    )


def smallest(seed: int) -> Case:
    """The shortest piece of a case that goes wrong in the same way."""
    case = draw_case(Random(seed))
    kind = outcome(seed, case).kind
    best = case
    spots = list(range(1, 1 + sum(len(case.network.blocks[s.block].out) for s in case.network.steps)))
    for end in spots:
        net = case.network
        channels = [3]
        for step in net.steps:
            channels.extend(net.blocks[step.block].out)
        blocks = [*net.blocks, Last(channels[end])]
        cut = Network(blocks, [*net.steps, Step(len(blocks) - 1, (end,))], [len(spots) + 1]).pruned()  # type: ignore[list-item]
        torch.manual_seed(0)
        tried = Case(cut, re.sub(r"protect.*\n", "", case.spec))
        try:
            if outcome(seed, tried).kind == kind and len(cut.steps) < len(best.network.steps):
                best = tried
        except Exception:
            continue
    return best


def main() -> int:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--record", type=Path, help="file of outcomes, added to as they come")
    parser.add_argument("--show", type=int, help="print the network of one seed, as short as it can be made")
    given = parser.parse_args()
    if given.show is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            case = smallest(given.show)
            print(case)
            print(outcome(given.show, case))
        return 0
    start = time.perf_counter()
    seeds = range(given.seed, given.seed + given.count)
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        known = recorded(pool, measured, seeds[: given.count // 4], given.record, "known")
        found = [Outcome(**o) for o in recorded(pool, outcome_of, seeds, given.record, "found")]
    if known:
        units, possible, differ = (sum(k[n] for k in known) for n in range(3))
        print(
            f"{len(known)} networks of which it is known what can be cut: {units} units of {possible} "
            f"({100 * units / max(1, possible):.1f}%), {differ} layers differ"
        )
    report(found, time.perf_counter() - start)
    return int(any(o.kind in ("WRONG", "TRACEBACK") for o in found))


def outcome_of(seed: int) -> dict[str, Any]:
    """One seed's outcome, as plain values."""
    return asdict(run(seed))


def recorded(
    pool: ProcessPoolExecutor, work: Callable[[int], Any], seeds: Iterable[int], file: Path | None, kind: str
) -> list[Any]:
    """`work` of each seed; those that the file has are taken from it, the others added to it."""
    seeds = list(seeds)
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file and file.exists() else []
    done = {line["seed"]: line["value"] for line in lines if line["kind"] == kind}
    missing = [seed for seed in seeds if seed not in done]
    for seed, value in zip(missing, pool.map(work, missing, chunksize=5), strict=True):
        done[seed] = value
        if file:
            with file.open("a") as out:
                out.write(json.dumps({"kind": kind, "seed": seed, "value": value}) + "\n")
    return [done[seed] for seed in seeds]


def plain(why: str) -> str:
    """A reason without the names and numbers that differ from case to case."""
    return re.sub(r"\d+(\.\d+)?(e[+-]?\d+)?", "N", re.sub(r"\(.*?\)", "", why))[:160]


def report(found: list[Outcome], seconds: float) -> None:
    """Counts, shares, reasons."""
    kinds = Counter(o.kind for o in found)
    print(f"{len(found)} networks in {seconds:.0f} s: " + ", ".join(f"{n} {k}" for k, n in sorted(kinds.items())))
    free, every = (sum(o.channels[k] for o in found) for k in (0, 1))
    print(f"units that may go, of those in compiled networks: {free} of {every} ({100 * free / max(1, every):.1f}%)")
    for kind in ("WRONG", "TRACEBACK", "refused", "no network"):
        reasons: dict[str, list[int]] = {}
        for o in found:
            if o.kind == kind:
                reasons.setdefault(plain(o.why), []).append(o.seed)
        for why, seeds in sorted(reasons.items(), key=lambda item: -len(item[1])):
            print(f"{kind:9} {len(seeds):5}  {why}   seeds {' '.join(map(str, seeds[:4]))}")
    protected = Counter(plain(why) for o in found for why in o.protected)
    for why, n in protected.most_common(40):
        print(f"protected {n:5}  {why}")


if __name__ == "__main__":
    sys.exit(main())
