"""Reports: results as JSON, as a Markdown table, and as a chart of latency against size."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.search_scale.chart import draw

Run = Mapping[str, Any]


def write_report(path: Path, runs: Sequence[Run]) -> None:
    """Write `path`, and beside it `.md` and `.svg`."""
    path.write_text(json.dumps(list(runs), indent=1), "utf-8")
    path.with_suffix(".md").write_text(markdown(runs), "utf-8")
    path.with_suffix(".svg").write_text(draw(p95_by_kind(runs), [run["instances"] for run in runs]), "utf-8")


def p95_by_kind(runs: Sequence[Run], clients: int = 1) -> dict[str, list[float | None]]:
    """Return the 95th percentile of each kind by size, `None` where it was not measured."""
    kinds = dict.fromkeys(timing["kind"] for run in runs for timing in run["timings"])
    return {kind: [_p95(run, kind, clients) for run in runs] for kind in kinds}


def _p95(run: Run, kind: str, clients: int) -> float | None:
    timing = _timing(run, kind, clients)
    return None if timing is None else timing["p95"]


def _timing(run: Run, kind: str, clients: int, *, counted: bool = True) -> Mapping[str, Any] | None:
    wanted = (kind, clients, counted)
    return next((t for t in run["timings"] if (t["kind"], t["clients"], t["counted"]) == wanted), None)


def markdown(runs: Sequence[Run]) -> str:
    """Return the tables: p50 and p95 with one client by size, growth, the largest archive in detail, bytes by table."""
    largest = runs[-1]
    clients = sorted({timing["clients"] for timing in largest["timings"]} - {1})
    names = [f"{run['instances']:,}" for run in runs]
    names += ["growth of p95", "page alone", *(f"{number} clients" for number in clients)]
    lines = ["| kind | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for kind, p95 in p95_by_kind(runs).items():
        alone = [_timing(run, kind, 1) for run in runs]
        rows = [timing["rows"] for timing in alone[-2:] if timing is not None]
        cells = [_cell(timing) for timing in alone]
        cells += [f"{_growth(p95)}{_longer(rows)}", _cell(_timing(largest, kind, 1, counted=False))]
        cells += [_cell(_timing(largest, kind, number)) for number in clients]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"p50 / p95 in ms, one client; page alone (`count=none`) and more clients at {names[len(runs) - 1]}.",
        "",
    ]
    for run in runs:
        lines += [f"{run['instances']:,} instances: {bytes_an_instance(run['built'], run['instances'])}", ""]
    return "\n".join(lines)


def _cell(timing: Mapping[str, Any] | None) -> str:
    return "" if timing is None else f"{timing['p50']:.1f} / {timing['p95']:.1f}"


def _growth(p95: Sequence[float | None]) -> str:
    known = [value for value in p95[-2:] if value]
    return f"{known[1] / known[0]:.2f}" if len(known) == 2 else ""


def _longer(rows: Sequence[int]) -> str:
    """Say where the answer is not the same at both sizes, so that its cost need not be either."""
    return f" ({rows[0]} and {rows[1]} rows)" if len(rows) == 2 and rows[0] != rows[1] else ""


def bytes_an_instance(built: Mapping[str, Any], instances: int) -> str:
    """Say how many bytes an instance costs by table, and together."""
    sizes = {table: sum(size.values()) / instances for table, size in built["tables"].items()}
    parts = [f"{table} {size:.0f}" for table, size in sizes.items() if size >= 0.5]
    return f"{sum(sizes.values()):.0f} bytes an instance ({', '.join(parts)})"
