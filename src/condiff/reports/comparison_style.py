"""How a comparison page looks beyond what every page does."""

from condiff.reports.style import CSS as BASE

CSS = (
    BASE
    + """
main { max-width: 1200px; }
.answers { margin: 0; }
.answers dt { font-weight: 600; margin-top: 12px; }
.answers dd { margin: 3px 0 0; max-width: 64em; line-height: 1.5; }
header + section h2 { margin: 26px 0 0; }
header + section figcaption { max-width: none; }
.sum { color: var(--soft); margin-top: 14px; }
.sum + .wide { margin-top: 14px; }
.sum b { color: var(--ink); font-weight: 600; }
.fact .few { font-size: 1.25rem; padding: 4px 0; }
.fact dd b { color: var(--ink); font-weight: 600; }
.plots svg text { font-family: var(--sans) !important; }
.plots svg * { stroke-linejoin: round; }
.plots { grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); grid-auto-flow: dense;
  gap: 30px 32px; }
.plots .large { grid-column: span 2; grid-row: span 2; max-width: none; }
.plots.costs { grid-template-columns: repeat(auto-fill, minmax(min(100%, 500px), 1fr)); }
.costs .large { grid-column: auto; grid-row: auto; }
.plots + .plots { margin-top: 30px; }
.of { transition: opacity .12s; }
.lighting .of { opacity: .13; }
.lighting .of.lit { opacity: 1; }
.column.lit .name { color: var(--accent); }
.long { max-height: 34rem; overflow: auto; }
table.runs { width: auto; min-width: 44%; }
.runs th, .runs td { padding: 8px 20px 8px 0; }
.runs td { white-space: nowrap; }
.many { font-size: .84rem; }
.many th, .many td { padding-right: 11px; }
.many .figure { font-size: .8rem; }
.many .named { white-space: normal; }
.many .named small { min-width: 8em; }
.runs tbody tr { cursor: default; }
.runs thead th { vertical-align: bottom; background: var(--paper); position: sticky; top: 0; z-index: 2; }
.runs th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer;
  text-align: inherit; }
.runs th button:hover { color: var(--ink); }
.runs th button::after { content: " ↕"; opacity: .35; }
.runs th[aria-sort="ascending"] button::after { content: " ▲"; opacity: 1; }
.runs th[aria-sort="descending"] button::after { content: " ▼"; opacity: 1; }
.runs th button:focus-visible, select:focus-visible, .chips input:focus-visible, #play:focus-visible {
  outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 3px; }
.runs small { color: var(--soft); font-size: .8rem; }
.runs .figure small { display: block; }
.runs .named small { display: block; white-space: normal; max-width: 24em; line-height: 1.35; }
.runs td:first-child, .runs th:first-child { position: sticky; left: 0; z-index: 1;
  background: var(--paper); }
.runs thead th:first-child { z-index: 3; }
.inside { padding: 0 16px 14px; }
.inside td:first-child, .inside thead th { background: var(--card); }
.runs tfoot td { color: var(--soft); border-bottom: 0; }
tr.lit td, .runs tr.lit td:first-child { background: var(--wash); }
.best b { color: var(--paper); background: var(--accent); border-radius: 5px; padding: 1px 7px;
  margin-right: -7px; }
.near b { text-decoration: underline dotted; text-decoration-thickness: 2px; text-underline-offset: 4px;
  text-decoration-color: var(--accent); }
.figure b { font-weight: 600; }
.alike { color: var(--soft); }
.verdict { display: block; font-size: .8rem; }
h3 + .controls { margin-top: 10px; }
.wide + h3, .wide + .told { margin-top: 30px; }
.less + .notes, .wide + .notes { margin-top: 18px; color: var(--soft); font-size: .9rem; }
.better b, .better .verdict { color: var(--series-0); }
.worse b, .worse .verdict { color: var(--series-1); }
.key b { font-weight: 600; }
.controls { display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: center; margin-bottom: 16px;
  font-size: .88rem; }
.controls select, #play { font: inherit; color: inherit; background: var(--card);
  border: 1px solid var(--rule); border-radius: 6px; padding: 4px 9px; max-width: 15em; }
#play { cursor: pointer; }
#play[aria-pressed="true"] { background: var(--accent); color: var(--paper); border-color: var(--accent); }
.controls input[type="range"] { width: 7em; accent-color: var(--accent); }
.scripted .live { display: flex; }
.live, #blink { display: none; }
.scripted #blink { display: block; flex: 0 1 510px; min-width: min(100%, 20em); }
.beside { display: flex; flex-wrap: wrap; gap: 36px 56px; align-items: flex-start; }
.beside > div { min-width: 0; }
.beside figcaption { max-width: 34em; }
#blink .controls { min-height: 3.9em; margin-bottom: 6px; align-content: flex-end; }
.chips { display: flex; flex-wrap: wrap; align-items: flex-start; gap: 6px 8px; max-height: 11rem;
  overflow: auto; }
.chips label { border: 1px solid var(--rule); border-radius: 15px; padding: 2px 11px 2px 8px; cursor: pointer;
  background: var(--card); max-width: 26em; line-height: 1.35; text-indent: -1.35em; padding-left: 1.9em; }
.chips input { accent-color: var(--accent); margin: 0 5px 0 0; vertical-align: -1px; }
.chips label:has(:disabled) { opacity: .45; }
.noise { overflow-x: auto; display: flex; gap: 10px; padding-bottom: 6px; }
.noise[hidden], .column[hidden] { display: none; }
.column { margin: 0; flex: none; width: var(--wide); }
.column + .column { margin-top: 0; }
.column img { display: block; width: 100%; height: auto; image-rendering: pixelated; }
.column.given { padding-right: 10px; border-right: 1px solid var(--rule); width: calc(var(--wide) + 11px); }
.column .name, .asked .name { height: calc(var(--named) * 1.25em); display: flex; align-items: flex-end;
  font-size: .78rem; line-height: 1.25; margin-bottom: 6px; overflow-wrap: anywhere; overflow: hidden;
  color: var(--soft); }
.column .name span { max-height: 100%; }
.column .name { color: var(--ink); }
.asked { position: sticky; left: 0; background: var(--paper); padding-right: 6px; z-index: 1; flex: none;
  max-width: 9em; }
.asked span { display: flex; align-items: center; justify-content: flex-end; font-size: .82rem;
  color: var(--soft); height: var(--tall); text-align: right; line-height: 1.2; overflow: hidden; }
#blink canvas { max-width: 100%; height: auto; image-rendering: pixelated; touch-action: none;
  cursor: pointer; }
.told { font-size: .85rem; color: var(--soft); margin: 2px 0; font-variant-numeric: tabular-nums; }
.told b { color: var(--ink); font-weight: 600; }
#blink .told { transition: opacity .1s; }
.failed code { overflow-wrap: anywhere; }
td.path { font-family: var(--mono); font-size: .8rem; }
@media (max-width: 640px) {
  .runs thead { display: table-header-group; }
  .runs tr { display: table-row; }
  .runs td { padding: 7px 16px 7px 0; border-bottom: 1px solid var(--rule); }
  .runs td:first-child { font-weight: inherit; }
  .runs td:first-child, .runs th:first-child { max-width: 9.5em; white-space: normal; padding-right: 12px; }
}
@media (max-width: 790px) {
  .plots .large { grid-column: auto; grid-row: auto; }
  .large svg { min-width: 620px; }
}
@media print {
  :root { --paper: #fff; --card: #fff; --ink: #1b1f24; --soft: #59626d; --rule: #d5d8dc; --wash: #f1f3f6;
    --accent: #2f5fc4; --series-0: #2f5fc4; --series-1: #c2570c; --series-2: #0b8065; --series-3: #a63d8f;
    --series-4: #8a6d00; --series-5: #5b6670; color-scheme: light; }
  main { max-width: none; padding: 0; }
  .controls, #blink { display: none !important; }
  .long { max-height: none; }
  .wide, .noise { overflow: visible; }
  .noise { flex-wrap: wrap; }
  .runs thead th, .runs td:first-child { position: static; }
  .best b { print-color-adjust: exact; }
  figure, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
}
"""
)
