"""How a page looks: one column of reading width, one accent, light and dark by the reader's setting."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #fcfcfb; --card: #ffffff; --ink: #1b1f24; --soft: #59626d; --rule: #e3e5e8; --accent: #2f5fc4;
  --wash: #f1f3f6; --ok: #1a7f4b; --ran: #a05a00; --again: #2f5fc4;
  --series-0: #2f5fc4; --series-1: #c2570c; --series-2: #0b8065; --series-3: #a63d8f; --series-4: #8a6d00;
  --series-5: #5b6670;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
  --serif: Charter, "Iowan Old Style", "Source Serif 4", Georgia, "Noto Serif", "DejaVu Serif", serif;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #101316; --card: #171b20; --ink: #e4e7eb; --soft: #9aa4af; --rule: #2a3037; --accent: #86aaf5;
    --wash: #1d2228; --ok: #5cc793; --ran: #e2a65a; --again: #86aaf5;
    --series-0: #86aaf5; --series-1: #f09a5c; --series-2: #4cc7a5; --series-3: #dd86c9; --series-4: #d6b548;
    --series-5: #a3adb7;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.6 var(--sans);
  -webkit-text-size-adjust: 100%;
}
main { max-width: 1040px; margin: 0 auto; padding: 56px 32px 72px; }
h1, h2, h3, p, figure, dl, pre { margin: 0; }
h1 { font: 650 2.3rem/1.15 var(--sans); letter-spacing: -.022em; overflow-wrap: anywhere; }
h2 {
  font: 650 1.2rem/1.3 var(--sans); letter-spacing: -.01em; margin: 60px 0 18px; padding-top: 16px;
  border-top: 1px solid var(--rule);
}
h3 { font: 600 .95rem/1.4 var(--sans); }
code, pre { font-family: var(--mono); font-size: .86em; }
.over { color: var(--soft); font-size: .82rem; letter-spacing: .02em; margin-bottom: 10px; }
.question { font: 1.28rem/1.5 var(--serif); max-width: 44em; margin-top: 16px; text-wrap: pretty; }
.command {
  margin-top: 24px; padding: 12px 16px; background: var(--wash); border-radius: 8px; white-space: pre-wrap;
  overflow-wrap: anywhere;
}
.command::before { content: "$ "; color: var(--soft); }
.facts { display: flex; flex-wrap: wrap; gap: 1px; margin-top: 32px; background: var(--rule);
  border: 1px solid var(--rule); border-radius: 10px; overflow: hidden; }
.fact { flex: 1 1 200px; background: var(--card); padding: 16px 20px 15px; }
.fact dt { color: var(--soft); font-size: .84rem; }
.fact dd { margin: 0; color: var(--soft); font-size: .84rem; line-height: 1.45; }
.fact .value {
  color: var(--ink); font: 600 1.9rem/1.3 var(--sans); letter-spacing: -.02em;
  font-variant-numeric: tabular-nums;
}
.panels { display: flex; gap: 28px; align-items: flex-end; }
.panel { min-width: 0; }
.panel p { color: var(--soft); font-size: .84rem; margin-bottom: 8px; }
.panel img { display: block; width: 100%; height: auto; }
figure + figure { margin-top: 40px; }
figure h3 { margin-bottom: 10px; }
figcaption { color: var(--soft); font-size: .88rem; line-height: 1.5; max-width: 48em; margin-top: 12px; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr));
  gap: 36px 40px; }
.plots figure { margin: 0; max-width: 560px; }
.plots svg { display: block; width: 100%; height: auto; font-family: var(--sans); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; line-height: 1.45; }
th { text-align: left; font-weight: 500; color: var(--soft); font-size: .82rem; white-space: nowrap; }
th, td { padding: 9px 22px 9px 0; border-bottom: 1px solid var(--rule); vertical-align: baseline; }
th:last-child, td:last-child { padding-right: 0; }
.figure { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.words { color: var(--soft); min-width: 15em; }
td code { white-space: nowrap; }
.cached { color: var(--ok); } .run { color: var(--ran); } .resumed { color: var(--again); }
.status { white-space: nowrap; }
.status::before { content: ""; display: inline-block; width: .5em; height: .5em; border-radius: 50%;
  background: currentColor; margin-right: .55em; vertical-align: .08em; }
.bar { display: block; height: 4px; border-radius: 2px; background: var(--accent); margin-top: 5px;
  margin-left: auto; }
.time { width: 8.5em; }
.notes { padding-left: 1.2em; margin: 0; }
.notes li { margin: .35em 0; }
details { margin-top: 12px; border: 1px solid var(--rule); border-radius: 8px; background: var(--card); }
summary { cursor: pointer; padding: 11px 16px; font-weight: 500; }
summary span { color: var(--soft); font-weight: 400; }
details pre { padding: 4px 16px 16px; overflow-x: auto; line-height: 1.55; }
.about { display: grid; grid-template-columns: max-content 1fr; gap: 5px 28px; font-size: .9rem; }
.about dt { color: var(--soft); }
.about dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 640px) {
  main { padding: 32px 18px 48px; }
  h1 { font-size: 1.75rem; }
  h2 { margin-top: 44px; }
  .question { font-size: 1.13rem; }
  .panels { flex-direction: column; align-items: flex-start; gap: 22px; }
  .panel { width: calc(var(--share) * 100%); flex: none !important; }
  .fact { flex-basis: 150px; }
  thead { display: none; }
  tr { display: flex; flex-wrap: wrap; gap: 2px 14px; align-items: baseline; padding: 11px 0;
    border-bottom: 1px solid var(--rule); }
  td { padding: 0; border: 0; }
  td:first-child { flex: 1 1 auto; font-weight: 500; }
  td.size::before { content: "n = "; }
  td.words { flex: 1 0 100%; min-width: 0; order: 9; }
  td.words:empty { display: none; }
  td.time { width: auto; min-width: 4.5em; }
  .bar { display: none; }
  .about { grid-template-columns: 1fr; gap: 0; }
  .about dd { margin-bottom: 8px; }
}
"""
