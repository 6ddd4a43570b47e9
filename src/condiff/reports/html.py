"""``report.html``: one file that needs no script, no network and no other file."""

import base64
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from PIL.Image import Image

from condiff.reports.curves import Curve, svg
from condiff.reports.redact import escaped, redact
from condiff.reports.report import Figure, Metric, Metrics, Panel, Report, StageRow
from condiff.reports.runs import FLOOR, floor_of
from condiff.reports.style import CSS
from condiff.reports.tables import duration, interval_of, number

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
KEY_LETTERS = 10
_PLAIN_YAML = re.compile(r"(?!(?i:true|false|null|yes|no|on|off)\Z)[A-Za-z_/][\w./+-]*(?: [\w./+-]+)*\Z")


def render(report: Report) -> str:
    """The page of one run; every text in it is escaped and free of secrets."""
    body = [
        _head(report),
        _facts(report),
        section("Pictures", [_figure(figure) for figure in report.pictures]),
        section(
            "Measurements", [_measurements(report.metrics), _notes(report.measured)] if report.metrics else []
        ),
        section("Training", [_plots(report.curves)] if report.curves else []),
        section("Stages", [_stages(report.stages)] if report.stages else []),
        section("Notes", [_notes(report.notes)]),
        section("Set-up", [_environment(report.environment), _config(report.config)]),
    ]
    return page(report.name, "\n".join(part for part in body if part))


def page(title: str, body: str, css: str = CSS, script: str = "") -> str:
    """A whole document around markup that is already escaped; a browser runs this script and no other."""
    policy, end = POLICY, ""
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy, end = f"{POLICY}; script-src 'sha256-{digest}'", f"<script>{script}</script>\n"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{escaped(title)}</title>
<style>{css}</style>
</head>
<body>
<main>
{body}
</main>
{end}</body>
</html>
"""


def section(title: str, parts: Sequence[str]) -> str:
    inside = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{title}</h2>\n{inside}\n</section>" if inside else ""


def fact(name: str, value: str, *context: str) -> str:
    lines = "".join(f"<dd>{escaped(line)}</dd>" for line in context if line)
    return f'<div class="fact"><dt>{escaped(name)}</dt><dd class="value">{escaped(value)}</dd>{lines}</div>\n'


def caption(words: str) -> str:
    return f"<figcaption>{escaped(words)}</figcaption>" if words else ""


def data_uri(image: Image) -> str:
    """The picture as a PNG inside the address of an <img>."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def config_text(config: Mapping[str, Any], indent: int = 0) -> str:
    """The config as YAML to be read, its secrets hidden."""
    lines = []
    for name, value in redact(config).items():
        start = f"{'  ' * indent}{_scalar(name)}:"
        if isinstance(value, Mapping) and value:
            lines += [start, config_text(value, indent + 1)]
        else:
            lines.append(f"{start} {_scalar(value)}")
    return "\n".join(lines)


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN_YAML.match(value):
        return value
    if isinstance(value, list):
        return f"[{', '.join(_scalar(part) for part in value)}]"
    return json.dumps(value, ensure_ascii=False, default=str)


def _head(report: Report) -> str:
    return (
        f'<header>\n<p class="over">condiff report</p>\n<h1>{escaped(report.name)}</h1>\n'
        f'<p class="question">{escaped(report.question)}</p>\n'
        f'<pre class="command">{escaped(report.command)}</pre>\n</header>'
    )


def _facts(report: Report) -> str:
    """The guidance and the headline numbers, each beside what real data reaches."""
    facts = [
        fact(name.replace("_", " "), number(metric["value"]), *_context(name, report.metrics))
        for name, metric in report.metrics.items()
        if not name.endswith(FLOOR)
    ]
    guidance = report.guidance
    if guidance is None:
        return f'<dl class="facts">\n{"".join(facts)}</dl>' if facts else ""
    first = fact("guidance scale", guidance.shown(), guidance.name, guidance.strength(), guidance.led_away())
    return f'<dl class="facts">\n{first}\n{"".join(facts)}</dl>'


def _context(name: str, metrics: Metrics) -> list[str]:
    metric, floor = metrics[name], floor_of(name, metrics)
    lines = [] if metric["interval"] is None else [interval_of(metric)]
    lines.append(f"n = {metric['n']}")
    if floor is not None and floor["value"] > 0:
        count = "" if floor["n"] == metric["n"] else f" (n = {floor['n']})"
        times = number(metric["value"] / floor["value"], 2)
        lines.append(f"{times} × what real pictures have, {number(floor['value'])}{count}")
    return lines


def _figure(figure: Figure) -> str:
    widest = max((panel.image.width for panel in figure.panels), default=1)
    panels = "\n".join(_panel(panel, widest, figure.title) for panel in figure.panels)
    return (
        f'<figure>\n<h3>{escaped(figure.title)}</h3>\n<div class="panels">\n{panels}\n</div>\n'
        f"{caption(figure.caption)}</figure>"
    )


def _panel(panel: Panel, widest: int, title: str) -> str:
    """A picture whose width shares the row by its pixels, so that neighbours keep one scale."""
    width, height = panel.image.size
    label = f"<p>{escaped(panel.label)}</p>" if panel.label else ""
    return (
        f'<div class="panel" style="flex:{width} 1 0;max-width:{width}px;--share:{width / widest:.4f}">'
        f'{label}<img src="{data_uri(panel.image)}" width="{width}" height="{height}" '
        f'alt="{escaped(f"{title}: {panel.label}")}"></div>'
    )


def _measurements(metrics: Metrics) -> str:
    rows = "\n".join(_measurement(name, metric) for name, metric in metrics.items())
    return (
        '<div class="wide"><table>\n<thead><tr><th>metric</th><th class="figure">value</th>'
        '<th class="figure">interval</th><th class="figure">n</th><th>protocol</th></tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _measurement(name: str, metric: Metric) -> str:
    return (
        f"<tr><td><code>{escaped(name)}</code></td>"
        f'<td class="figure"><b>{number(metric["value"])}</b></td>'
        f'<td class="figure">{escaped(interval_of(metric))}</td>'
        f'<td class="figure size">{escaped(metric["n"])}</td>'
        f'<td class="words">{escaped(metric["protocol"])}</td></tr>'
    )


def _plots(curves: Sequence[Curve]) -> str:
    plots = "\n".join(
        f"<figure><h3>{escaped(curve.title)}</h3>{svg(curve)}{caption(curve.caption)}</figure>"
        for curve in curves
    )
    return f'<div class="plots">\n{plots}\n</div>'


def _stages(rows: Sequence[StageRow]) -> str:
    longest = max((row.seconds or 0.0 for row in rows), default=0.0) or 1.0
    total = duration(sum(row.seconds or 0.0 for row in rows))
    body = "\n".join(_stage(row, (row.seconds or 0.0) / longest) for row in rows)
    return (
        '<div class="wide"><table>\n<thead><tr><th>stage</th><th>key</th><th>status</th><th>why</th>'
        f'<th class="figure">time, {total} in all</th></tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
    )


def _stage(row: StageRow, share: float) -> str:
    seconds = "" if row.seconds is None else duration(row.seconds)
    return (
        f"<tr><td>{escaped(row.name)}</td>"
        f'<td><code title="{escaped(row.key)}">{escaped(row.key[:KEY_LETTERS])}</code></td>'
        f'<td class="status {escaped(row.status)}">{escaped(row.status)}</td>'
        f'<td class="words">{escaped(row.reason)}</td><td class="figure time">{seconds}'
        f'<span class="bar" style="width:{share:.1%}"></span></td></tr>'
    )


def _notes(notes: Sequence[str]) -> str:
    items = "\n".join(f"<li>{escaped(note)}</li>" for note in notes)
    return items and f'<ul class="notes">\n{items}\n</ul>'


def _environment(environment: Mapping[str, Any]) -> str:
    if not environment:
        return ""
    items = "\n".join(
        f"<dt>{escaped(name)}</dt><dd>{escaped(_listed(value))}</dd>"
        for name, value in redact(environment).items()
    )
    return f'<dl class="about">\n{items}\n</dl>'


def _listed(value: Any) -> Any:
    """A mapping as one line of names and values."""
    return (
        ", ".join(f"{name} {part}" for name, part in value.items()) if isinstance(value, Mapping) else value
    )


def _config(config: Mapping[str, Any]) -> str:
    if not config:
        return ""
    return (
        "<details><summary>Resolved config <span>with every default</span></summary>"
        f"<pre>{escaped(config_text(config))}</pre></details>"
    )
