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

// `configure` makes a Chart.js configuration anew whenever the theme changes.
function chart(parent, height, configure) {
  const frame = element("div", null, parent, { class: "chart", style: `height: ${height}px` });
  const canvas = element("canvas", null, frame, { role: "img" });
  const entry = { canvas, configure, drawn: null };
  charts.push(entry);
  return entry;
}

function draw() {
  Chart.defaults.color = css("--text");
  Chart.defaults.borderColor = css("--line");
  Chart.defaults.animation = false;
  Chart.defaults.maintainAspectRatio = false;
  for (const entry of charts) {
    if (entry.drawn) entry.drawn.destroy();
    entry.drawn = new Chart(entry.canvas, entry.configure());
  }
  document.body.dataset.charts = String(charts.length);
}

// What a row is, as words: the variant and everything of the problem line.
function words(row, without = []) {
  return [row.source, row.implementation, ...row.problem.split(" "), row.cache]
    .filter((word) => word && !word.startsWith("implementation="))
    .filter((word) => !without.some((axis) => word.startsWith(axis + "=")));
}

// Labels of rows or groups: the words in which they differ, and of the name of a variant the parts in which it does.
// Options and the like only where the rest does not tell them apart: they are long.
function labels(lists) {
  if (lists.length === 1) return [lists[0][0]];
  const common = lists[0].filter((word) => lists.every((list) => list.includes(word)));
  let kept = lists.map((list) => list.filter((word) => !common.includes(word)));
  const distinct = (some) => new Set(some.map((list) => list.join(" "))).size;
  for (const key of ["options=", "fill=", "layout=", "config=", "groups="]) {
    const shorter = kept.map((list) => list.filter((word) => !word.startsWith(key)));
    if (distinct(shorter) === distinct(kept)) kept = shorter;
  }
  const is_variant = (word) => word.split(".").length === 5 && !word.includes("=");
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
      entry.drawn.update();
    });
  });
}

function lines_chart(parent, axis, lines) {
  const names = labels(lines.map((group) => words(group[0], [axis, "seed"])));
  const datasets = lines.flatMap((group, series) => {
    const sorted = [...group].sort((a, b) => a[axis] - b[axis]);
    const color = kColors[series % kColors.length];
    const [pointStyle, mark] = kMarks[Math.floor(series / kColors.length) % kMarks.length];
    const style = { series, mark, borderColor: color, backgroundColor: color };
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

function bars(parent, names, values, { title, colors, mark, text }) {
  chart(parent, 90 + 24 * names.length, () => ({
    type: "bar",
    data: { labels: names, datasets: [{ data: values, backgroundColor: colors }] },
    options: {
      indexAxis: "y",
      scales: {
        x: { title: { display: true, text: title }, suggestedMin: 0, suggestedMax: mark,
          grid: { color: (tick) => (tick.tick && tick.tick.value === mark ? css("--text") : css("--line")) } },
        y: { ticks: { autoSkip: false, font: { size: 11 } } },
      },
      plugins: { legend: { display: false }, tooltip: { callbacks: { label: (item) => text(item.dataIndex) } } },
    },
  }));
}

function fractions() {
  const cold = timed.filter((row) => typeof row.floor_fraction === "number");
  if (cold.length === 0) return;
  const units = [...new Set(cold.map((row) => row.binds))];
  const parent = section("Fraction of the floor",
    "Floor over median: 100 % would be all that the machine can do. The colour is the unit that sets the floor: " +
    units.map((unit, i) => `${unit} ${["blue", "orange", "green", "pink"][i] || ""}`).join(", ") + ".");
  bars(parent, labels(cold.map((row) => words(row, ["seed"]))), cold.map((row) => row.floor_fraction), {
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
    bars(parent, labels(compared.map((row) => words(row, ["seed"]))), compared.map((row) => row[tag]), {
      title: "times faster", mark: 1, colors: kColors[0],
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
      bars(parent, labels(pairs.map((pair) => [...pair.problem.split(" "), pair.cache])), pairs.map((pair) => 1 / pair.ratio), {
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

function table_of_rows() {
  if (rows.length === 0) return;
  const parent = section("Every row", "A click on a heading sorts.");
  const columns = data.metrics.filter((metric) => rows.some((row) => row[metric.tag] !== null && row[metric.tag] !== undefined));
  if (data.sweeps.length > 1) columns.unshift({ tag: "source", heading: "file", unit: "", description: "" });
  columns.push({ tag: "reason", heading: "reason", unit: "", description: "why the verdict is not passed" });
  const table = element("table", null, element("div", null, parent, { class: "scroll" }), { id: "rows" });
  const head = element("tr", null, element("thead", null, table));
  const body = element("tbody", null, table);
  const fill = (ordered) => {
    body.replaceChildren();
    for (const row of ordered) {
      const line = element("tr", null, body);
      for (const { tag } of columns) {
        const bad = tag === "verdict" && !["passed", "unchecked", "skipped"].includes(row.verdict);
        element("td", format(row[tag]), line,
          { class: bad ? "bad" : typeof row[tag] === "number" ? "number" : "text" });
      }
    }
  };
  for (const { tag, heading, unit, description } of columns) {
    const cell = element("th", unit && !heading.includes(unit) ? `${heading} (${unit})` : heading, head,
      { role: "button", tabindex: "0", title: description });
    const sort = () => {
      const up = cell.getAttribute("aria-sort") !== "ascending";
      for (const other of head.children) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", up ? "ascending" : "descending");
      const order = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : format(a).localeCompare(format(b));
      fill([...rows].sort((a, b) => (up ? 1 : -1) * order(a[tag], b[tag])));
    };
    cell.addEventListener("click", sort);
    cell.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(); });
  }
  fill(rows);
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
draw();

document.getElementById("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  draw();
});
