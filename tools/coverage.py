"""Every network of the zoo and of spandrel → a table: how it was traced, what of it can go, whether that is exact.

    python tools/coverage.py [--only NAME ...] [--side ours] [--timeout 600] [--peer-timeout 90] [--jobs 1]
        [--record FILE]
    python tools/coverage.py --from FILE ... [--write docs/coverage.md]

Half of the filters of every group goes, drawn at random. Exact: the compact network is compared with the original whose
removed filters are zeroed, by code that shares nothing with fxprune, at up to three sizes; the largest difference
relative to the largest output is shown. Beside it torch-pruning does the same, once told nothing but the network
(naive), once with the layers named that an expert would have it leave alone (expert): those that make the output and
those before a pixel shuffle; what it has left is compared in the same way. Every run is a process of its own with one
thread, and so many seconds of CPU time to end in.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

SIDES = ("ours", "naive", "expert")


def main() -> int:
    """The table and a line that sums it up; exits with 1 if anything of ours is wrong or crashes."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="networks whose name this pattern finds"
    )
    parser.add_argument("--side", action="append", choices=SIDES, help="one of the three alone")
    parser.add_argument("--timeout", type=int, default=600, help="CPU seconds for each run; default: %(default)s")
    parser.add_argument("--peer-timeout", type=int, default=90, help="and of torch-pruning; default: %(default)s")
    parser.add_argument("--from", dest="files", nargs="+", type=Path, help="what --record wrote; later files win")
    parser.add_argument("--record", type=Path, help="write everything found to this file as it comes, as JSON")
    parser.add_argument("--write", type=Path, help="put the table into this page, between its marks")
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time; default: %(default)s")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(child(*options.child)))
        return 0
    rows = read(options.files) if options.files else everything(parser, options)
    sides = tuple(side for side in SIDES if any(side in found for found in rows.values()))
    text = "\n".join([*summary(rows, sides), "", *table(rows, sides)])
    if options.write:
        options.write.write_text(written_into(options.write.read_text(), text))
    else:
        print(text)
    return int(any(found.get("ours", OK)["outcome"] not in ("exact", "refused") for found in rows.values()))


OK: dict[str, Any] = {"outcome": "exact"}
NOT_RUN: dict[str, Any] = {"outcome": "not run"}
PEERS = {"naive": "torch-pruning", "expert": "torch-pruning with ignores"}
Rows = dict[str, dict[str, dict[str, Any]]]  # network → side → what was found


def everything(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Rows:
    """Run what is asked for; progress goes to stderr."""
    from coverage_networks import NAMES

    names = [name for name in NAMES if not options.only or any(re.search(part, name) for part in options.only)]
    if not names:
        parser.error(f"no network's name has {' or '.join(options.only)}")
    limits = {
        side: options.timeout if side == "ours" else options.peer_timeout
        for side in SIDES
        if side in (options.side or SIDES)
    }
    rows: Rows = {}
    with ThreadPoolExecutor(options.jobs) as pool:
        for name, found in zip(names, pool.map(lambda n: compared(n, limits), names), strict=True):
            rows[name] = found
            said = "; ".join(f"{side}: {x['outcome']} {x.get('why', '')[:160]}" for side, x in found.items())
            print(f"{name}: {said}", file=sys.stderr, flush=True)
            if options.record:
                options.record.write_text(json.dumps(rows, indent=2))
    return rows


def read(files: list[Path]) -> Rows:
    """What was recorded, in the order of the list of networks."""
    from coverage_networks import NAMES

    rows: Rows = {}
    for file in files:
        for name, found in json.loads(file.read_text()).items():
            rows.setdefault(name, {}).update(found)
    return {name: rows[name] for name in NAMES if name in rows}


START, END = "<!-- made by tools/coverage.py -->", "<!-- to here -->"


def written_into(page: str, text: str) -> str:
    """A page with what stands between its marks replaced."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n\n{text}\n\n{END}{after}"


def compared(name: str, limits: dict[str, int]) -> dict[str, Any]:
    """What each side makes of a network in so many seconds."""
    return {side: run(name, side, limit) for side, limit in limits.items()}


def run(name: str, side: str, limit: int) -> dict[str, Any]:
    """One run in a process of its own, which may spend so many seconds of CPU time."""
    command = [sys.executable, str(Path(__file__).resolve()), "--child", name, side]
    limited = partial(resource.setrlimit, resource.RLIMIT_CPU, (limit, limit + 5))
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limited)
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return {"outcome": "no end", "why": f"stopped after {limit} s of CPU time"}
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        return {"outcome": "crash", "why": last[0], "stderr": done.stderr[-4000:]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def child(name: str, side: str) -> dict[str, Any]:
    """Build a network, cut half of it, compare."""
    import torch
    from coverage_networks import build

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    case = build(name)
    with torch.no_grad():
        case.module.eval()(*(x.clone() for x in case.example))  # the network itself has to run
    if side == "ours":
        found = ours(case)
    else:
        from coverage_peer import peer

        found = peer(case, expert=side == "expert")
    return {**found, **({"remark": case.remark} if case.remark else {})}


def ours(case: Any) -> dict[str, Any]:
    """Compile; then compare anew, by the tests' oracle."""
    import fxprune
    from fxprune.errors import FxpruneError, RewriteError
    from tests.oracle import exact

    before = everything_in(case.module)
    start = time.process_time()
    try:
        compiled = fxprune.compile("cut filters 50% by random(seed=1)", case.module, case.example)
    except FxpruneError as error:
        kind = "wrong" if isinstance(error, RewriteError) else "refused"
        return {"outcome": kind, "why": f"{type(error).__name__}: {error.diagnostics[0].message}"}
    seconds = time.process_time() - start
    if changed := sorted(name for name, held in everything_in(case.module).items() if not same(held, before.get(name))):
        return {"outcome": "wrong", "why": f"the model given was changed: {', '.join(changed[:4])}"}
    report = compiled.report
    apart, wrong, refused = [], [], []
    for k, inputs in enumerate((*case.others, case.example)):
        if k == len(case.others) and apart:
            break  # the example's own size is for where compact takes none of the others
        size = "x".join(map(str, inputs[0].shape[2:]))
        outcome = at_size(exact, case.module, compiled, inputs)
        if isinstance(outcome, str):
            refused.append(f"{size}: {outcome}")
        else:
            apart.append(outcome[1])
            wrong += [] if outcome[0] else [f"{size}: {outcome[1]:.2g} apart"]
    kinds = Counter(row.kind for row in report.groups)
    filters = Counter[str]()
    for row in report.groups:
        filters[row.kind] += row.before * len(row.producers)
    everything = sum(filters.values())
    return {
        "outcome": "wrong" if wrong else "exact" if apart else "not compared",
        "why": "; ".join(wrong),
        "rung": report.rung,
        "groups": [kinds[kind] for kind in ("free", "constrained", "protected")],
        "prunable": (everything - filters["protected"]) / everything if everything else 0.0,
        "params": list(report.params),
        "difference": max(apart, default=None),
        "sizes": len(apart),
        "refused": refused,
        "cpu": round(seconds, 1),
        "notes": list(report.notes),
        "protected": Counter(str(row.why) for row in report.protected),
    }


def everything_in(module: Any) -> dict[str, Any]:
    """Each attribute of each part of a network by name; tensors with a copy of their values."""
    import torch

    found: dict[str, Any] = {}
    for path, part in module.named_modules():
        for home in (vars(part), part._parameters, part._buffers):
            for name, value in home.items():
                copied = value.detach().clone() if isinstance(value, torch.Tensor) else None
                found[f"{path}.{name}".lstrip(".")] = (value, copied)
    return found


def same(now: tuple[Any, Any], before: tuple[Any, Any] | None) -> bool:
    """Is it the same object, with the same values if it is a tensor?"""
    import torch

    kept = before is not None and now[0] is before[0]
    return kept and (now[1] is None or torch.equal(now[1].nan_to_num(), before[1].nan_to_num()))  # type: ignore[index]


def at_size(exact: Any, module: Any, compiled: Any, inputs: tuple[Any, ...]) -> tuple[bool, float] | str:
    """Whether and how far masked and compact are apart on an input, or which of them does not run on it."""
    import torch

    with torch.no_grad():
        for who, network in (("the network itself", module), ("compact", compiled.module)):
            try:
                network.eval()(*(x.clone() for x in inputs))
            except Exception as error:
                return f"{who} does not run: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    found: tuple[bool, float] = exact(module, compiled.kept, compiled.module, inputs)
    return found


def table(rows: dict[str, dict[str, Any]], sides: tuple[str, ...]) -> list[str]:
    """Markdown, one row for each network."""
    titles = [
        "network",
        "rung",
        "free",
        "tied",
        "protected",
        "prunable",
        "parameters",
        "difference",
        "sizes",
        "CPU seconds",
    ]
    titles += [PEERS[side] for side in sides if side in PEERS]
    lines = ["| " + " | ".join(titles) + " |", "| --- | --- " + "| ---: " * 8 + "| --- " * (len(titles) - 10) + "|"]
    for name, found in rows.items():
        mine = found.get("ours", NOT_RUN)
        if "rung" in mine:
            ends = [f"{mine['prunable']:.0%}", arrow(mine["params"])]
            ends += [f"{mine['difference']:.1e}" if mine["difference"] is not None else "none", str(mine["sizes"])]
            cells = [name, mine["rung"], *map(str, mine["groups"]), *ends, str(mine.get("cpu", ""))]
            cells[7] = f"**wrong**: {cells[7]}" if mine["outcome"] == "wrong" else cells[7]
        else:
            why = re.sub(r"/\S*/site-packages/", "", mine.get("why", ""))
            cells = [name, f"{mine['outcome']}: {why}".replace("|", "/"), *[""] * 8]
        cells += [told(found.get(side, NOT_RUN)) for side in sides if side in PEERS]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def arrow(params: list[int]) -> str:
    """Parameters before and after, in thousands."""
    return " → ".join(f"{count / 1000:,.0f}K" for count in params)


def told(found: dict[str, Any]) -> str:
    """What the peer made of a network, in a cell."""
    return (
        f"{found['outcome']}, {found['params'][1] / found['params'][0]:.0%} left"
        if "params" in found
        else found["outcome"]
    )


def summary(rows: dict[str, dict[str, Any]], sides: tuple[str, ...]) -> list[str]:
    """How many of each outcome there are, for each side."""
    lines = []
    for side in sides:
        counted = Counter(found[side]["outcome"] for found in rows.values() if side in found)
        told_of = ", ".join(f"{n} {what}" for what, n in counted.most_common())
        lines.append(f"- {PEERS.get(side, 'fxprune')}: {counted.total()} networks, {told_of}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
