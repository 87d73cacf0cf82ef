"use strict";
// The table of configs, their learning curves, the sheet of one config, and several side by side.
const ROWS = 15, CURVES = 240, ENDS = 1200, COLOURS = ["$a", "$b", "$c", "$d"], DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
const STATES = { done: ["at full length", "$set"], running: ["running", "$muted"], paused: ["paused", "$other"], failed: ["failed", "$failed"] };

function drawTable() {
  const by = columns.find(each => each.name === state.sort) || columns[0], sign = state.up ? 1 : -1;
  const sorted = [...shown].sort((a, b) => {
    const [x, y] = [by.at(a), by.at(b)];
    return x === y ? a.order - b.order : x === null ? 1 : y === null ? -1 : x < y ? -sign : sign;
  });
  const sort = column => {
    state.up = state.sort === column.name ? !state.up : column.scored ? run.minimize : column.kind !== "number";  // the best first
    state.sort = column.name;
    drawTable();
  };
  const arrow = column => column !== by || !state.sort ? "none" : state.up ? "ascending" : "descending";
  const head = columns.map(each => tag("th", { "aria-sort": arrow(each), class: each.kind || "" },
    tag("button", { title: `sort by ${each.name}${each.title ? `: ${each.title}` : ""}`, onclick: () => sort(each) }, each.name)));
  const rows = (state.all ? sorted : sorted.slice(0, ROWS)).map(config => {
    const box = tag("input", { type: "checkbox", "aria-label": `compare ${config.id}`, onchange: () => choose(config.id) });
    box.checked = state.chosen.includes(config.id);
    const row = tag("tr", { class: config.place, "data-config": config.id }, tag("td", {}, box), ...columns.map(column => cell(column, config)));
    row.onclick = event => event.target.closest("input, button") || getSelection().toString() || openConfig(config.id);
    return row;
  });
  byId("table").replaceChildren(tag("table", { class: "folds" },
    tag("thead", {}, tag("tr", {}, tag("th", { title: "compare" }, "⇆"), ...head)), tag("tbody", {}, ...rows)));
  byId("rows").hidden = sorted.length <= ROWS;
  byId("rows").textContent = state.all ? `show the first ${ROWS}` : `show all ${sorted.length.toLocaleString("en")}`;
}
function cell(column, config) {
  if (column.kind === "id") return tag("td", { class: "id" }, tag("button", { onclick: () => openConfig(config.id) }, config.id));
  if (column.kind !== "fold") return tag("td", { class: column.kind || "" }, column.text(config));
  const trial = config.trials[column.fold], kind = !trial ? "never" : trial.full !== null ? "done" : trial.state;
  return tag("td", { class: `fold ${kind}`, title: trial ? trial.why : "", style: column.style(trial) }, column.text(config));
}

const named = trial => `<b>${markup(run.configs[trial.config].id)}</b>, fold ${trial.fold}<br>step `;
const HOVER = { type: "scatter", hovertemplate: "%{text}<extra></extra>" };
function curve(trials, name, color, width = 1, more = {}) {  // one trace, with a gap after each fold trial
  const trace = { ...HOVER, mode: "lines", name, x: [], y: [], text: [], customdata: [], line: { color, width }, ...more };
  for (const trial of trials) {
    const config = run.configs[trial.config], steps = run.steps[trial.curve[0]], values = markup(valuesText(config)).replaceAll("\n", "<br>");
    trial.curve[1].forEach((score, i) => {
      trace.x.push(steps[i]); trace.y.push(score); trace.customdata.push(config.id);
      trace.text.push(`${named(trial)}${steps[i].toLocaleString("en")}: ${number(score)}<br>${values}`);
    });
    for (const points of [trace.x, trace.y, trace.text, trace.customdata]) points.push(null);
  }
  return trace;
}
function ends(trials, name, color, symbol) {
  const last = trial => trial.score ?? trial.curve?.[1].findLast(score => score !== null) ?? 0;
  return { ...HOVER, mode: "markers", name, x: trials.map(trial => trial.step), y: trials.map(last),
    marker: { color, symbol, size: 7, line: { width: 1, color: "$muted" } }, customdata: trials.map(trial => run.configs[trial.config].id),
    text: trials.map(trial => `${named(trial)}${trial.step.toLocaleString("en")}: ${number(trial.score)}<br>${wrapped(trial.why)}`) };
}
const wrapped = text => markup(text).replace(/(.{70}\S*) /g, "$1<br>");
makers.curves = () => {
  const there = new Set(shown.map(c => c.order)), begun = run.trials.filter(trial => there.has(trial.config) && trial.curve);
  const of = (...places) => begun.filter(trial => places.includes(run.configs[trial.config].place));
  const winner = of("winner"), set = of("set").slice(0, CURVES - winner.length);
  const drawn = [...thinned(of("", "failed"), CURVES - winner.length - set.length), ...set];
  const stopped = kind => thinned(run.trials.filter(trial => there.has(trial.config) && trial.state === kind), ENDS);
  return [...Object.entries(STATES).map(([kind, [name, colour]]) => curve(drawn.filter(trial => trial.state === kind), name, colour)),
    curve(winner, "the winner", "$winner", 2.5), ends(stopped("paused"), "paused here", "$other", "circle"),
    ends(stopped("failed"), "failed here", "$failed", "x")].filter(trace => trace.x.length);
};
const curvesFigure = () => ({ layout: { xaxis: { title: { text: run.steps_label }, rangemode: "tozero" },
  yaxis: { title: { text: `${run.metric} of the fold` } } } });
function plot(parent, name, height) {
  const box = parent.appendChild(tag("div", { class: "plot", "data-figure": name, style: `height:${height}px` }));
  setTimeout(() => box.isConnected && draw(box));  // so that what is around it is there at once
}

function table(head, rows) {  // rows: cells, and whether they are all the same
  const line = (kind, cells, same) => tag("tr", { class: same ? "same" : "" }, ...cells.map(each => tag(kind, {}, each)));
  return tag("div", { class: "scroll" }, tag("table", {}, tag("thead", {}, line("th", head)), tag("tbody", {}, ...rows.map(each => line("td", ...each)))));
}
function openConfig(id) {
  const config = run.configs.find(c => c.id === id), sheet = byId("sheet");
  if (!config) return;
  state.open = id;
  const of = name => columns.find(each => each.name === name).text(config), begun = config.trials.filter(trial => trial.curve);
  const facts = [["expected", of("expected")], ["mean", `${of("mean")} on ${config.folds} of ${run.folds} folds`], ["wins these folds", of("wins these folds")],
    ["better on any folds", of("better on any folds")], ["time", of("time")], ["missing", config.missing], ...run.parameters.map(axis => [axis.name, of(axis.name)])].filter(([, value]) => value);
  sheet.replaceChildren(tag("header", {}, tag("h2", {}, id), tag("span", { class: `place ${config.place}` }, config.place),
    tag("button", { onclick: () => choose(id) }, state.chosen.includes(id) ? "do not compare" : "compare"),
    tag("button", { onclick: () => sheet.close() }, "close")),
  tag("dl", {}, ...facts.flatMap(([name, value]) => [tag("dt", {}, name), tag("dd", {}, value)])),
  tag("h3", {}, "Folds"), table(["fold", "score", "step", "time", "faults", "reason"], config.trials.filter(Boolean).map(trial => [
    [trial.fold, foldText(trial), `${trial.step.toLocaleString("en")} of ${trial.of.toLocaleString("en")}`, time(trial.seconds), trial.faults, trial.why]])));
  if (!sheet.open) sheet.showModal();
  figures.sheet = curvesFigure();
  const line = i => ({ line: { color: "$set", width: 2, dash: DASHES[i % DASHES.length] } });
  makers.sheet = () => begun.map((trial, i) => curve([trial], `fold ${trial.fold}`, "$set", 2, line(i)));
  if (begun.length) plot(sheet, "sheet", 280);
  drawImages(sheet, run.images.scores?.[id]);
  const link = tag("a", { href: "#images", onclick: () => sheet.close() }, "its predictions of the best and the worst images");
  if (config.place === "winner") sheet.append(link);
}
function drawImages(sheet, scores) {
  if (!scores) return sheet.append(tag("p", { class: "more" }, run.images.why || "Images are listed for the best configs only."));
  figures.images = { data: [{ type: "histogram", x: scores.map(([, , score]) => score), marker: { color: "$set" }, nbinsx: 25,
    hovertemplate: "%{y} images with %{x}<extra></extra>" }], layout: { xaxis: { title: { text: run.images.metric } }, yaxis: { title: { text: "images" } }, bargap: 0.06 } };
  sheet.append(tag("h3", {}, `Its ${scores.length} held-out images, and the worst of them`));
  plot(sheet, "images", 190);
  const swatch = ([name, colour]) => tag("span", {}, tag("i", { style: `background:rgb(${colour})` }), name);
  sheet.append(tag("div", { class: "legend" }, ...run.images.legend.map(swatch)),
    tag("div", { class: "thumbs" }, ...scores.slice(0, 8).map(([place, fold, score]) => {
      const stem = run.images.stems[place], picture = run.images.thumbs[stem];
      return tag("figure", {}, picture ? tag("img", { alt: stem, src: picture }) : "", tag("figcaption", {}, `${stem}, fold ${fold}: ${number(score)}`));
    })));
}

function choose(id) {
  state.chosen = state.chosen.includes(id) ? state.chosen.filter(each => each !== id) : [...state.chosen, id].slice(-COLOURS.length);
  if (byId("sheet").open) openConfig(state.open);
  drawTable();
  drawChosen();
}
function drawChosen() {
  const configs = state.chosen.map(id => run.configs.find(c => c.id === id)).filter(Boolean), box = byId("chosen"), two = configs.length === 2;
  byId("compare").hidden = !configs.length;
  byId("compare").textContent = configs.length < 2 ? "choose one more to compare" : `compare ${configs.length}`;
  box.replaceChildren();
  if (configs.length < 2) return;
  const letter = i => tag("i", { class: "letter", style: `background:var(--${"abcd"[i]})` }, "ABCD"[i]);
  const apart = (x, y) => x === null || y === null ? "–" : (x < y ? "−" : "+") + number(Math.abs(x - y));
  const rows = columns.filter(each => !["config", "time"].includes(each.name)).map(column => {
    const cells = configs.map(column.text), measured = column.kind === "fold" || ["mean", "expected"].includes(column.name);
    return [[column.name, ...cells, two && measured ? apart(...configs.map(column.at)) : ""], new Set(cells).size === 1];
  });
  box.append(tag("h3", {}, "Side by side"), table(["", ...configs.map((c, i) => tag("span", {}, letter(i), c.id)), two ? "A − B" : ""], rows));
  figures.chosen = curvesFigure();
  makers.chosen = () => configs.map((config, i) => curve(config.trials.filter(trial => trial.curve), `${"ABCD"[i]}: ${config.id}`, COLOURS[i], 1.8));
  plot(box, "chosen", 340);
  box.append(tag("p", { class: "caption" }, "Each line is a fold. For tests and the images on which they differ most: ",
    tag("code", {}, `python -m analysis compare ${run.address} ${configs[0].id} ${configs[1].id}`)));
}

function start() {  // and again when a page that is live has a newer run
  load();
  buildLines();
  drawChosen();
  update(0);
}
if (byId("explorer")) {
  clicked = id => id && openConfig(id);
  byId("query").oninput = event => { state.query = event.target.value; update(); };
  byId("clear").onclick = () => { Object.assign(state, { query: "", brushes: {} }); byId("query").value = ""; update(); };
  byId("rows").onclick = () => { state.all = !state.all; drawTable(); };
  byId("compare").onclick = () => byId("chosen").scrollIntoView({ behavior: "smooth", block: "center" });
  byId("sheet").onclick = event => event.target === byId("sheet") && byId("sheet").close();
  byId("sheet").onclose = () => { state.open = ""; byId("sheet").replaceChildren(); };
  addEventListener("resize", () => { buildLines(); drawLines(); });
  start();
}
