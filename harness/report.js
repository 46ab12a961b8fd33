// Draws the report: everything on the page comes from the JSON in #data.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const main = document.querySelector("main");
const rows = data.sweeps.flatMap((sweep) =>
  sweep.data.results.map((row) => ({ ...row, source: data.sweeps.length > 1 ? sweep.name : "" })));
const timed = rows.filter((row) => typeof row.median_ms === "number" && row.verdict !== "invalid");
const kAxes = ["seqlen", "batch", "dim", "dstate"];
const kAxisNames = { seqlen: "time steps", batch: "sequences", dim: "channels", dstate: "states a channel" };
// Okabe and Ito: told apart with every kind of colour vision.
const kColors = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#b8a800"];
// With the colours they tell more lines apart than those do alone: how Chart.js calls each, and what looks like it.
const kMarks = [["circle", "●"], ["triangle", "▲"], ["rect", "■"], ["rectRot", "◆"], ["cross", "✚"], ["crossRot", "✖"],
  ["star", "✱"]];
// A browser leaves a canvas blank that is higher than some 30 000 pixels, of which the page's may be three each.
const kBarsOfChart = 100;
const kLabelPixels = 11;
// More make the page slow; fewer would hide rows of ordinary sweeps from the browser's search.
const kRowsOfPage = 300;
// Charts are drawn before one scrolls to them.
const kNearPixels = 2000;
const charts = [];

function element(tag, text, parent, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== null) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  parent.append(made);
  return made;
}

function section(title, explanation) {
  const made = element("section", null, main);
  element("h2", title, made);
  if (explanation) element("p", explanation, made);
  return made;
}

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// `configure` makes a Chart.js configuration anew whenever the chart is drawn.
function chart(parent, height, configure) {
  const frame = element("div", null, parent, { class: "chart", style: `height: ${height}px` });
  const canvas = element("canvas", null, frame, { role: "img" });
  const entry = { frame, canvas, configure, near: false, drawn: null };
  charts.push(entry);
  return entry;
}

// What is far from the window is not drawn: thousands of bars are gigabytes of pixels.
function draw(entry) {
  entry.drawn?.destroy();
  entry.drawn = entry.near ? new Chart(entry.canvas, entry.configure()) : null;
}

function draw_all() {
  Chart.defaults.color = css("--text");
  Chart.defaults.borderColor = css("--line");
  Chart.defaults.animation = false;
  Chart.defaults.maintainAspectRatio = false;
  charts.forEach(draw);
}

// What a row is, as words: the variant and everything of the problem line.
function words(row, without = []) {
  const left_out = ["implementation", ...without];
  const problem = row.problem.split(" ").filter((word) => !left_out.some((key) => word.startsWith(key + "=")));
  return [row.source, row.implementation, ...problem, row.cache].filter(Boolean);
}

// The name of a file may have as many dots.
const is_variant = (word) => /^\w+\.\w+\.\w+\.(forward|backward)\.\w+$/.test(word);

// Labels of rows or groups: the words in which they differ, and of the name of a variant the parts in which it does.
// Options and the like only where the rest does not tell them apart: they are long.
function labels(lists) {
  if (lists.length === 1) return [lists[0].find(is_variant) ?? lists[0][0]];
  const common = lists[0].filter((word) => lists.every((list) => list.includes(word)));
  let kept = lists.map((list) => list.filter((word) => !common.includes(word)));
  const distinct = (some) => new Set(some.map((list) => list.join(" "))).size;
  for (const key of ["seed=", "options=", "fill=", "layout=", "config=", "groups="]) {
    const shorter = kept.map((list) => list.filter((word) => !word.startsWith(key)));
    if (distinct(shorter) === distinct(kept)) kept = shorter;
  }
  const variants = kept.map((list) => (list.find(is_variant) || "").split("."));
  const varies = variants[0].map((_, i) => variants.some((parts) => parts[i] !== variants[0][i]));
  return kept.map((list, row) => list.map((word) =>
    is_variant(word) ? word.split(".").filter((_, i) => varies[i]).join(".") : word).join(" ") || lists[row][0]);
}

// By what `key` says of each; in the order of appearance.
function grouped(list, key) {
  const groups = new Map();
  for (const item of list) {
    const name = key(item);
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(item);
  }
  return groups;
}

// Of ascending values those whose names would not lie on top of each other on a logarithmic axis.
function apart(values) {
  const least = 0.06 * Math.log(values.at(-1) / values[0]);
  const kept = [];
  for (const value of values)
    if (kept.length === 0 || Math.log(value / kept.at(-1)) >= least) kept.push(value);
  return kept;
}

// Below a chart, however many lines it has; a click on a name switches the datasets of that series.
function legend(parent, entry, datasets, names) {
  const list = element("div", null, parent, { class: "legend" });
  names.forEach((name, series) => {
    const { borderColor, mark } = datasets.find((set) => set.series === series);
    const key = element("button", null, list, { type: "button", class: "key", "aria-pressed": "true" });
    element("span", mark, key, { style: `color: ${borderColor}` });
    element("span", name, key);
    key.addEventListener("click", () => {
      const shown = key.getAttribute("aria-pressed") !== "true";
      key.setAttribute("aria-pressed", String(shown));
      for (const set of datasets) if (set.series === series) set.hidden = !shown;
      entry.drawn?.update();
    });
  });
}

function lines_chart(parent, axis, lines) {
  const names = labels(lines.map((group) => words(group[0], [axis, "seed"])));
  // Not clipped: the outermost points lie on the edges.
  const datasets = lines.flatMap((group, series) => {
    const sorted = [...group].sort((a, b) => a[axis] - b[axis]);
    const color = kColors[series % kColors.length];
    const [pointStyle, mark] = kMarks[Math.floor(series / kColors.length) % kMarks.length];
    const style = { series, mark, clip: false, borderColor: color, backgroundColor: color };
    const measured = { ...style, label: names[series], borderWidth: 2, pointRadius: 4, pointStyle,
      data: sorted.map((row) => ({ x: row[axis], y: row.median_ms, row })) };
    const floors = sorted.filter((row) => typeof row.floor_ms === "number");
    const floor = { ...style, label: `${names[series]}: floor`, borderDash: [6, 4], borderWidth: 1, pointRadius: 0,
      data: floors.map((row) => ({ x: row[axis], y: row.floor_ms, row })) };
    return floors.length ? [measured, floor] : [measured];
  });
  const values = [...new Set(lines.flat().map((row) => row[axis]))].sort((a, b) => a - b);
  const entry = chart(parent, 420, () => ({
    type: "line",
    data: { datasets },
    options: {
      scales: {
        x: {
          type: "logarithmic", title: { display: true, text: axis }, min: values[0], max: values.at(-1),
          // The library would put them at powers of ten.
          afterBuildTicks: (scale) => { scale.ticks = apart(values).map((value) => ({ value })); },
          ticks: { callback: (value) => value.toLocaleString("en") },
        },
        y: { type: "logarithmic", title: { display: true, text: "ms" } },
      },
      plugins: {
        legend: { display: false },
        tooltip: { callbacks: { label: (item) => `${item.dataset.label}: ${item.parsed.y.toPrecision(4)} ms` } },
      },
    },
  }));
  legend(parent, entry, datasets, names);
}

function axis_chart(axis) {
  const groups = grouped(timed, (row) => words(row, [axis, "seed"]).join(" "));
  const lines = [...groups.values()].filter((group) => new Set(group.map((row) => row[axis])).size > 1);
  if (lines.length === 0) return;
  const parent = section(`Time against ${axis}`,
    `Median of one launch against ${kAxisNames[axis]}; dashed: the floor, the least time that the measured rates of ` +
    "the machine allow with cold caches. A click on a name switches its lines.");
  if (lines.length <= kColors.length) return lines_chart(parent, axis, lines);
  // More than one can read at once: a chart for each direction and implementation.
  for (const [title, some] of grouped(lines, ([row]) => `${row.direction} of ${row.implementation}`)) {
    element("h3", title, parent);
    lines_chart(parent, axis, some);
  }
}

const pen = document.createElement("canvas").getContext("2d");

// In lines of at most so many pixels, if it is wider: Chart.js cuts labels off at the left, where they differ. Broken at
// spaces; a word that alone is wider also within.
function wrapped(label, pixels) {
  pen.font = `${kLabelPixels}px ${Chart.defaults.font.family}`;
  const fits = (text) => pen.measureText(text.trimEnd()).width <= pixels;
  if (fits(label)) return label;
  const lines = [""];
  for (const piece of label.split(/(?<= )/).flatMap((word) => (fits(word) ? word : word.split(/(?<=[,/])/)))) {
    if (lines.at(-1) && !fits(lines.at(-1) + piece)) lines.push("");
    lines[lines.length - 1] += piece;
  }
  return lines.map((line) => line.trimEnd());
}

function bars_chart(parent, names, values, { title, colors, mark, text, most }) {
  const entry = chart(parent, 0, () => ({
    type: "bar",
    data: { labels: names, datasets: [{ data: values, backgroundColor: colors, maxBarThickness: 18 }] },
    options: {
      indexAxis: "y",
      onResize: (drawn, { width }) => { drawn.data.labels = fit(width); },  // also called before the first drawing
      scales: {
        x: { title: { display: true, text: title }, suggestedMin: 0, suggestedMax: most,
          grid: { color: (tick) => (tick.tick && tick.tick.value === mark ? css("--text") : css("--line")) } },
        y: { ticks: { autoSkip: false, font: { size: kLabelPixels } } },
      },
      plugins: { legend: { display: false }, tooltip: { callbacks: { label: (item) => text(item.dataIndex) } } },
    },
  }));
  const fit = (width) => {
    // The library gives an axis at most half of the width, marks and all.
    const fitting = names.map((name) => wrapped(name, width / 2 - 20));
    const lines = Math.max(...fitting.map((label) => (Array.isArray(label) ? label.length : 1)));
    entry.frame.style.height = `${90 + names.length * Math.max(24, 8 + 1.2 * kLabelPixels * lines)}px`;
    return fitting;
  };
  fit(entry.frame.clientWidth);
}

// As many charts, of the same scale, as it takes.
function bars(parent, names, values, { title, colors, mark, text }) {
  const most = values.reduce((a, b) => Math.max(a, b), mark);
  const size = Math.ceil(names.length / Math.ceil(names.length / kBarsOfChart));
  for (let first = 0; first < names.length; first += size) {
    const end = Math.min(first + size, names.length);
    if (size < names.length) element("h3", `${first + 1} to ${end} of ${names.length}`, parent);
    bars_chart(parent, names.slice(first, end), values.slice(first, end),
      { title, colors: colors.slice(first, end), mark, text: (i) => text(first + i), most });
  }
}

function fractions() {
  const cold = timed.filter((row) => typeof row.floor_fraction === "number");
  if (cold.length === 0) return;
  const units = [...new Set(cold.map((row) => row.binds))];
  const parent = section("Fraction of the floor",
    "Floor over median: 100 % would be all that the machine can do. The colour is the unit that sets the floor: " +
    units.map((unit, i) => `${unit} ${["blue", "orange", "green", "pink"][i] || ""}`).join(", ") + ".");
  bars(parent, labels(cold.map((row) => words(row))), cold.map((row) => row.floor_fraction), {
    title: "% of floor", mark: 100, colors: cold.map((row) => kColors[units.indexOf(row.binds) % kColors.length]),
    text: (i) => `${cold[i].floor_fraction.toFixed(1)} % (${cold[i].median_ms.toPrecision(4)} ms, ${cold[i].binds})` });
}

// The same problem by several implementations, timed in turns.
function speedups() {
  for (const over of ["naive", "lrnnx"]) {
    const tag = `speedup_${over}`;
    const compared = timed.filter((row) => typeof row[tag] === "number");
    if (compared.length === 0) continue;
    const parent = section(`Speed-up over the implementation ${over}`,
      `The median of ${over} over that of the row, for the same problem in the same run.`);
    bars(parent, labels(compared.map((row) => words(row))), compared.map((row) => row[tag]), {
      title: "times faster", mark: 1, colors: compared.map(() => kColors[0]),
      text: (i) => `${compared[i][tag].toFixed(2)} times (${compared[i].median_ms.toPrecision(4)} ms)` });
  }
}

function changes() {
  const kVerdictColors = { SLOW: "#d03b3b", FAST: "#009e73", SAME: "#7f7f7f", AMBIGUOUS: "#e69f00" };
  for (const change of data.changes) {
    const pairs = change.compared.pairs.filter((pair) => typeof pair.ratio === "number");
    const parent = section(`${change.name} against ${change.baseline}`,
      "Older median over newer one. Red: slower, green: faster by more than the threshold of " +
      `${(100 * change.compared.threshold).toPrecision(2)} % and the noise; grey: the same; orange: the samples cannot tell.` +
      (change.machines.length ? ` The machines differ: ${change.machines.join("; ")}.` : ""));
    const lost = change.compared.pairs.filter((pair) => typeof pair.ratio !== "number");
    if (change.compared.pairs.length === 0) element("p", "No problem is in both.", parent);
    if (lost.length + change.compared.only_old.length > 0) {
      element("p", "Had a time before, and has none now:", parent);
      const list = element("ul", null, parent, { class: "lost" });
      for (const pair of lost) element("li", `${pair.verdict}: ${pair.problem} cache=${pair.cache}`, list);
      for (const key of change.compared.only_old) element("li", `not there: ${key}`, list);
    }
    if (pairs.length > 0)
      bars(parent, labels(pairs.map((pair) => words(pair))), pairs.map((pair) => 1 / pair.ratio), {
        title: "speed-up", mark: 1, colors: pairs.map((pair) => kVerdictColors[pair.verdict]),
        text: (i) => `${pairs[i].verdict} ${(1 / pairs[i].ratio).toFixed(3)} ` +
          `[${(1 / pairs[i].ratio_high).toFixed(3)}, ${(1 / pairs[i].ratio_low).toFixed(3)}]` });
  }
}

// How each variant's problems ended, and the worst error of each tensor, as a share of what is allowed.
function parity() {
  const kCounted = ["passed", "failed", "mistrusted", "error"];
  const checked = data.checks.flatMap((check) => check.data.results)
    .map(({ problem, status, tensors }) => ({ problem, status, tensors }));
  // A row of a sweep may fail after its check; a time that cannot be true says nothing of the numbers.
  for (const same of grouped(rows, (row) => `${row.source} ${row.problem}`).values()) {
    const statuses = same.map((row) => (row.verdict === "invalid" && row.check ? row.check.status : row.verdict));
    const status = ["failed", "error"].find((fault) => statuses.includes(fault)) ?? statuses[0];
    checked.push({ problem: same[0].problem, status, tensors: same[0].check?.tensors });
  }
  const counted = checked.filter(({ status }) => kCounted.includes(status));
  if (counted.length === 0) return;
  const tensors = [...new Set(counted.flatMap((result) => (result.tensors ?? []).map((tensor) => tensor.name)))];
  const parent = section("Parity",
    `How ${counted.length} problems ended, and the largest error of each tensor against the fp64 reference, as a ` +
    "share of what is allowed: up to 1 is right.");
  const table = element("table", null, element("div", null, parent, { class: "scroll" }), { id: "parity" });
  const head = element("tr", null, element("thead", null, table));
  for (const text of ["variant", ...kCounted, ...tensors]) element("th", text, head);
  const body = element("tbody", null, table);
  const variant_of = ({ problem }) => {
    const implementation = problem.split(" ").find((word) => word.startsWith("implementation="));
    return problem.split(" ")[0] + (implementation ? ` of ${implementation.split("=")[1]}` : "");
  };
  for (const [name, results] of grouped(counted, variant_of)) {
    const line = element("tr", null, body);
    element("td", name, line);
    for (const status of kCounted) {
      const count = results.filter((result) => result.status === status).length;
      const is_fault = count > 0 && (status === "failed" || status === "error");
      element("td", String(count), line, { class: is_fault ? "number bad" : "number" });
    }
    for (const tensor of tensors) {
      const shares = results.flatMap((result) => result.tensors ?? [])
        .filter((found) => found.name === tensor).map(share_of);
      if (shares.length === 0) { element("td", "", line); continue; }
      const share = Math.max(...shares);
      // From green at a hundredth to yellow at 1; what fails is red.
      const hue = share <= 1 ? 140 - 80 * Math.min(1, Math.max(0, 1 + Math.log10(Math.max(share, 1e-9)) / 2)) : 0;
      element("td", Number.isFinite(share) ? share.toPrecision(2) : "∞", line,
        { class: "heat", style: `background: hsl(${hue} 65% 65%)` });
    }
  }
}

// Infinity if it is no number: "inf" and "nan" are texts in JSON.
function share_of(tensor) {
  const share = Number(tensor.rho ?? NaN);
  return Number.isFinite(share) ? share : Infinity;
}

function format(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return String(value);
  return Number.isInteger(value) ? String(value) : value.toPrecision(4).replace(/e\+?/, "e");
}

const heading_of = ({ heading, unit }) => (unit && !heading.includes(unit) ? `${heading} (${unit})` : heading);

// What varies of the problem, then what one looks for first. What is the same in all rows stands above, once.
function columns_of_rows() {
  const value = (row, { tag }) => (row[tag] === "" ? null : row[tag] ?? null);
  const columns = [{ tag: "source", heading: "file", unit: "", description: "" }, ...data.metrics,
    { tag: "reason", heading: "reason", unit: "", description: "why the verdict is not passed" }]
    .filter((column) => rows.some((row) => value(row, column) !== null));
  const results = ["median_ms", "floor_fraction", "verdict"].map((tag) => columns.find((column) => column.tag === tag))
    .filter(Boolean);
  // The metrics begin with those that tell of the problem.
  const tags = data.metrics.map(({ tag }) => tag);
  const of_problem = ["source", ...tags.slice(0, tags.indexOf("median_ms")), "options"];
  const varies = (column) => rows.some((row) => value(row, column) !== value(rows[0], column));
  const first = [...columns.filter((column) => of_problem.includes(column.tag) && varies(column)), ...results];
  const others = columns.filter((column) => !first.includes(column));
  if (rows.length === 1) return { shown: [...first, ...others], shared: [] };
  return { shown: [...first, ...others.filter(varies)], shared: others.filter((column) => !varies(column)) };
}

function table_of_rows() {
  if (rows.length === 0) return;
  const parent = section("Every row", "A click on a heading sorts.");
  const { shown, shared } = columns_of_rows();
  const facts = shared.map((column) => `${heading_of(column)} ${format(rows[0][column.tag])}`);
  if (facts.length > 0) element("p", `In every row: ${facts.join(", ")}`, parent, { id: "shared" });
  let ordered = rows, start = 0;
  const pager = element("div", null, parent, { class: "pager" });
  const table = element("table", null, element("div", null, parent, { class: "scroll" }), { id: "rows" });
  const head = element("tr", null, element("thead", null, table));
  const body = element("tbody", null, table);
  const show = (from) => {
    start = from;
    body.replaceChildren();
    for (const row of ordered.slice(start, start + kRowsOfPage)) {
      const line = element("tr", null, body);
      for (const { tag } of shown) {
        const bad = tag === "verdict" && !["passed", "unchecked", "skipped"].includes(row.verdict);
        element("td", format(row[tag]), line,
          { class: bad ? "bad" : typeof row[tag] === "number" ? "number" : "text" });
      }
    }
    if (rows.length <= kRowsOfPage) return;
    pager.replaceChildren();
    const turn = (text, to) => {
      const button = element("button", text, pager, { type: "button" });
      button.disabled = to < 0 || to >= rows.length;
      button.addEventListener("click", () => show(to));
    };
    turn("previous", start - kRowsOfPage);
    element("span", `rows ${start + 1} to ${Math.min(start + kRowsOfPage, rows.length)} of ${rows.length}`, pager);
    turn("next", start + kRowsOfPage);
  };
  for (const column of shown) {
    const { tag } = column;
    const cell = element("th", heading_of(column), head,
      { role: "button", tabindex: "0", title: column.description });
    const sort = () => {
      const up = cell.getAttribute("aria-sort") !== "ascending";
      for (const other of head.children) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", up ? "ascending" : "descending");
      const order = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : format(a).localeCompare(format(b));
      ordered = [...rows].sort((a, b) => (up ? 1 : -1) * order(a[tag], b[tag]));
      show(0);
    };
    cell.addEventListener("click", sort);
    cell.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
  }
  show(0);
}

function environments() {
  for (const { name, data: results } of [...data.sweeps, ...data.checks]) {
    const parent = section(`Machine and build of ${name}`);
    const body = element("tbody", null, element("table", null, element("div", null, parent, { class: "scroll" })));
    const add = (key, value) => {
      const line = element("tr", null, body);
      element("th", key, line);
      element("td", value === null ? "none" : typeof value === "object" ? JSON.stringify(value) : String(value), line);
    };
    for (const [group, facts] of Object.entries({ ...results.environment, sampling: results.timing ?? {}, ...results.ceilings })) {
      if (facts === null) { add(group, null); continue; }
      for (const [key, value] of Object.entries(facts)) add(`${group}.${key}`, value);
    }
  }
}

for (const axis of kAxes) axis_chart(axis);
fractions();
speedups();
changes();
parity();
table_of_rows();
environments();
document.body.dataset.charts = String(charts.length);

function draw_near() {
  for (const entry of charts) {
    const { top, bottom } = entry.frame.getBoundingClientRect();
    entry.near = top < innerHeight + kNearPixels && bottom > -kNearPixels;
  }
  draw_all();
}
draw_near();

const watch = new IntersectionObserver((seen) => {
  for (const { target, isIntersecting } of seen) {
    const entry = charts.find(({ frame }) => frame === target);
    if (entry.near === isIntersecting) continue;
    entry.near = isIntersecting;
    draw(entry);
  }
}, { rootMargin: `${kNearPixels}px 0px` });
for (const { frame } of charts) watch.observe(frame);

addEventListener("beforeprint", () => {
  for (const entry of charts) entry.near = true;
  draw_all();
});
addEventListener("afterprint", draw_near);

document.getElementById("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  draw_all();
});
