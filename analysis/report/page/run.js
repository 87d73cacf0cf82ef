"use strict";
// The run that the page carries, and the configs that the filter leaves, which every other script shows.
const state = { query: "", brushes: {}, sort: "", up: true, all: false, chosen: [], open: "" };
const LANE = -0.14;  // where axes show configs without a value
let run, columns, varying, axes, shown, later = 0;
function number(value) {  // four significant digits, as everywhere
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  if (size >= 0.1) return value.toPrecision(4);
  const short = Number(value.toPrecision(4));
  return size && size < 1e-4 ? short.toExponential().replace(/e-(\d)$/, "e-0$1") : String(short);
}
const short = value => Number.isInteger(value) ? String(value) : number(value).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
const time = s => s >= 5400 ? `${(s / 3600).toFixed(1)} h` : s >= 90 ? `${(s / 60).toFixed(1)} min` : `${Math.round(s)} s`;
const chance = (name, key, title) => ({ name, title, at: c => c[key], kind: "number", text: c => c[key] === null ? "–" : `${(100 * c[key]).toFixed(1)} %` });
const valueText = (axis, value) => value === null ? "–" : axis.levels ? axis.levels[value] : short(value);
const markup = text => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");  // plotly interprets it
const valuesText = (config, gap = "\n") => varying.map(([axis, i]) => `${axis.name}: ${valueText(axis, config.values[i])}`).join(gap);
const thinned = (list, most) => list.filter((_, i) => i % Math.max(1, Math.ceil(list.length / Math.max(1, most))) === 0);
function tag(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) typeof value === "function" ? made[key] = value : made.setAttribute(key, value);
  made.append(...children.filter(each => each !== null));
  return made;
}
const svg = (parent, name, attributes, text = "") => {
  const made = parent.appendChild(document.createElementNS("http://www.w3.org/2000/svg", name));
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
};

function load() {
  run = read("run");
  run.configs.forEach((config, order) => Object.assign(config, { order, trials: [] }));
  for (const trial of run.trials) run.configs[trial.config].trials[trial.fold] = Object.assign(trial, { why: run.reasons[trial.reason] });
  varying = run.parameters.map((axis, i) => [axis, i]).filter(([, i]) => new Set(run.configs.map(c => c.values[i])).size > 1);
  const folds = [...Array(run.folds).keys()], scores = run.trials.map(trial => trial.full).filter(score => score !== null);
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  columns = [
    { name: "config", title: "the best first", at: c => c.order, text: c => c.id, kind: "id" },
    { name: "mean", title: "± sd, of the folds at full length", at: c => c.mean, kind: "number", scored: true,
      text: c => number(c.mean) + (c.sd === null ? "" : ` ± ${c.sd.toFixed((number(c.mean).split(".")[1] || "").length)}`) },
    { name: "expected", title: "the estimated mean on any folds of the same data, shrunk, with its 95 % interval", at: c => c.expected, kind: "number", scored: true,
      text: c => number(c.expected) + (c.low === null ? "" : ` (${number(c.low)} to ${number(c.high)}${c.folds ? "" : ", forecast"})`) },
    chance("wins these folds", "chance_these_folds", "by which the scheduler decides"), chance("better on any folds", "chance_any_folds", "than the winner"),
    ...run.parameters.map((axis, i) => ({ name: axis.name, at: c => c.values[i], text: c => valueText(axis, c.values[i]),
      amount: c => axis.levels ? Number(axis.levels[c.values[i]]) : c.values[i] })),
    ...folds.map(fold => ({ name: `fold ${fold}`, fold, at: c => c.trials[fold]?.full ?? null, kind: "fold", scored: true, text: c => foldText(c.trials[fold]),
      style: trial => trial?.full == null ? "" : `--share:${high > low ? 12 + 60 * (run.minimize ? high - trial.full : trial.full - low) / (high - low) : 72}%` })),
    { name: "time", title: "of all its folds", at: c => c.seconds, text: c => time(c.seconds), kind: "number" },
  ];
  const known = run.configs.map(c => c.expected).filter(each => each !== null), least = Math.min(...known), most = Math.max(...known);
  axes = varying.map(([axis, i]) => ({ name: axis.name, levels: axis.levels, empty: "– not set", ...scale(axis), value: c => c.values[i] }));
  axes.push({ name: run.metric, value: c => c.expected, empty: "no score", ticks: known.length ? [[0, number(least)], [1, number(most)]] : [],
    unit: value => most > least ? (value - least) / (most - least) : 0.5 });
  for (const axis of axes) axis.at = run.configs.map(c => axis.value(c) === null ? LANE : axis.unit(axis.value(c)));
}
const foldText = trial => !trial ? "" : trial.full !== null ? number(trial.full)
  : trial.state === "failed" ? "× failed" : `${{ running: "▸", paused: "‖" }[trial.state] || ""} ${Math.floor(100 * trial.step / trial.of)} %`;
function scale(axis) {
  if (axis.levels) {
    const last = Math.max(1, axis.levels.length - 1), every = Math.ceil(axis.levels.length / 12);
    return { unit: value => value / last, ticks: axis.levels.map((level, i) => [i / last, level]).filter((_, i) => i % every === 0) };
  }
  const by = axis.log ? Math.log10 : Number, [low, high] = [by(axis.low), by(axis.high)];
  const unit = value => high > low ? (by(value) - low) / (high - low) : 0.5;
  const inner = axis.log ? [...Array(40).keys()].map(power => 10 ** (power - 20)) : [0.25, 0.5, 0.75].map(share => low + share * (high - low));
  const ticks = inner.filter(value => unit(value) > 0.08 && unit(value) < 0.92);
  return { unit, log: axis.log, ticks: [axis.low, ...ticks, axis.high].map(value => [unit(value), short(value)]) };
}

function condition(word) {
  const [, name, sign, wanted] = word.match(/^([^<>=!]+)(<=|>=|!=|=|<|>)(.+)$/) || [];
  const column = name && columns.find(each => each.name.replace(/[ %]/g, "") === name);
  const words = c => `${c.id} ${c.place} ${valuesText(c, " ")} ${c.trials.map(trial => trial.state).join(" ")}`.toLowerCase();
  if (!column) return c => words(c).includes(word.toLowerCase());
  const amount = column.amount || column.at, limit = Number(wanted);
  const tests = { "<": x => x < limit, ">": x => x > limit, "<=": x => x <= limit, ">=": x => x >= limit };
  if (tests[sign]) return c => amount(c) !== null && tests[sign](amount(c));
  const equal = c => column.text(c) === wanted || amount(c) === limit;
  return sign === "=" ? equal : c => !equal(c);
}
function filtered() {
  const conditions = state.query.split(/\s+/).filter(Boolean).map(condition);
  const brushes = axes.filter(axis => state.brushes[axis.name]).map(axis => [axis.at, ...state.brushes[axis.name]]);
  return run.configs.filter((c, i) => brushes.every(([at, low, high]) => at[i] >= low && at[i] <= high) && conditions.every(each => each(c)));
}
function update(rest = 120) {  // what follows the pointer at once, the figures when it rests
  shown = filtered();
  byId("count").textContent = `${shown.length.toLocaleString("en")} of ${run.configs.length.toLocaleString("en")} configs`;
  byId("clear").hidden = !state.query && !Object.keys(state.brushes).length;
  drawLines();
  drawTable();
  clearTimeout(later);
  if (rest) later = setTimeout(drawShown, rest);
}
function drawShown(left = plots().filter(each => each.dataset.drawn)) {  // one figure at a time, so that pointers are never held up
  const figure = left.shift(), there = new Set(shown.map(c => c.id)), all = there.size === run.configs.length;
  if (!figure) return;
  later = setTimeout(() => drawShown(left));
  if (makers[figure.dataset.figure]) return draw(figure);
  const marked = figure.data.map((trace, i) => i).filter(i => Array.isArray(figure.data[i].customdata));
  const points = marked.map(i => all ? null : figure.data[i].customdata.flatMap((id, place) => there.has(id) ? [place] : []));
  if (marked.length) Plotly.restyle(figure, { selectedpoints: points }, marked);
}
