"use strict";
// What a comparison page does when it is touched: sort a table, find a setting in the plots, choose the
// pictures that stand side by side, and lay one over another. Without it the page says the same.

const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const one = (selector, root = document) => root.querySelector(selector);
document.documentElement.classList.add("scripted");

// A click on a column's head sorts by it; the next one turns the order. What has no value stays last.
function sort(head) {
  const table = head.closest("table"), body = table.tBodies[0];
  const column = [...head.parentNode.children].indexOf(head);
  const down = head.getAttribute("aria-sort") === "ascending";
  const key = (row) => row.cells[column].dataset.value ?? "";
  const compared = (a, b) => {
    const x = key(a), y = key(b);
    if (x === "" || y === "") return (x === "") - (y === "");
    const order = isNaN(x) || isNaN(y) ? x.localeCompare(y, "en", { numeric: true }) : x - y;
    return down ? -order : order;
  };
  all("th", table.tHead).forEach((other) => other.setAttribute("aria-sort", "none"));
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  body.append(...[...body.rows].sort(compared));
}
all("th[aria-sort] button").forEach((button) => button.addEventListener("click", () => sort(button.parentNode)));

// A row of the table lights its points; a click keeps them lit.
let pinned = null;
function light(place) {
  document.body.classList.toggle("lighting", place !== null);
  all(".lit").forEach((part) => part.classList.remove("lit"));
  if (place !== null) all(`.of.s${place}, [data-place="${place}"]`).forEach((part) => part.classList.add("lit"));
}
all("tr[data-place]").forEach((row) => {
  row.addEventListener("mouseenter", () => light(row.dataset.place));
  row.addEventListener("mouseleave", () => light(pinned));
  row.addEventListener("click", () => {
    pinned = pinned === row.dataset.place ? null : row.dataset.place;
    light(pinned);
  });
});

// Which setting the others are shown less of.
const reference = one("#reference");
reference?.addEventListener("change", () =>
  all(".less").forEach((part) => (part.hidden = part.dataset.reference !== reference.value)),
);

// Which noise is shown, and which settings of it.
const noises = all(".noise"), chips = all(".chips input");
function choose() {
  const shown = chips.filter((chip) => chip.checked).map((chip) => chip.value);
  all(".noise .column[data-place]").forEach((column) => (column.hidden = !shown.includes(column.dataset.place)));
  const most = Number(one(".chips")?.dataset.most ?? 0);
  chips.forEach((chip) => (chip.disabled = !chip.checked && shown.length >= most));
}
chips.forEach((chip) => chip.addEventListener("change", choose));
const seeds = one("#noise");
seeds?.addEventListener("change", () => {
  noises.forEach((noise) => (noise.hidden = noise.dataset.noise !== seeds.value));
  paint();
});

// One setting over another, sample by sample: the slider fades, holding the picture flips, blinking repeats.
const canvas = one("#blink canvas"), fade = one("#fade"), from = one("#from"), to = one("#to");
let held = false, blinking = null, flipped = false;
function strip(select) {
  return one(`.noise:not([hidden]) .column[data-place="${select.value}"]`);
}
function paint() {
  if (!canvas) return;
  const [first, second] = [strip(from), strip(to)];
  const amount = held || (blinking !== null && flipped) ? 1 : blinking !== null ? 0 : fade.value / 100;
  one("#from-told").textContent = first?.dataset.told ?? "no pictures of this noise";
  one("#to-told").textContent = second?.dataset.told ?? "no pictures of this noise";
  one("#from-told").parentNode.style.opacity = 1 - amount / 2;
  one("#to-told").parentNode.style.opacity = 0.5 + amount / 2;
  const { rows, height, width, gap, scale, across } = Object.fromEntries(
    Object.entries(canvas.dataset).map(([name, value]) => [name, Number(value)]),
  );
  const pen = canvas.getContext("2d");
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.imageSmoothingEnabled = false;
  for (const [column, alpha] of [[first, 1], [second, amount]]) {
    const image = column && one("img", column);
    if (!image || !image.complete || alpha === 0) continue;
    pen.globalAlpha = alpha;
    for (let row = 0; row < rows; row++) {
      const x = (row % across) * (width * scale + 6), y = Math.floor(row / across) * (height * scale + 6);
      pen.drawImage(image, 0, row * (height + gap), width, height, x, y, width * scale, height * scale);
    }
  }
}
function blink() {
  clearInterval(blinking);
  blinking = blinking === null ? setInterval(() => { flipped = !flipped; paint(); }, 600) : null;
  flipped = false;
  one("#play").setAttribute("aria-pressed", String(blinking !== null));
  paint();
}
if (canvas) {
  [fade, from, to].forEach((control) => control.addEventListener("input", paint));
  canvas.addEventListener("pointerdown", () => { held = true; paint(); });
  ["pointerup", "pointercancel"].forEach((end) => addEventListener(end, () => { held = false; paint(); }));
  one("#play").addEventListener("click", blink);
  addEventListener("load", paint);
  paint();
}
choose();
