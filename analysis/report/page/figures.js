"use strict";
// Draws the figures that the page carries as JSON, in the colours of its style.
const byId = id => document.getElementById(id);
const read = id => JSON.parse(byId(id).textContent);
const plots = () => [...document.querySelectorAll(".plot")];
const dark = matchMedia("(prefers-color-scheme: dark)"), paper = matchMedia("print");
const makers = {};  // of the traces that depend on what is shown, by the figure's name
let figures = read("figures"), clicked = () => {};  // clicked: called with the config of a point

function coloured(value, style) {
  if (typeof value === "string") return /^\$[a-z]+$/.test(value) ? style.getPropertyValue("--" + value.slice(1)).trim() : value;
  if (Array.isArray(value)) return typeof value[0] === "number" && typeof value[1] !== "string" ? value : value.map(each => coloured(each, style));
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, coloured(v, style)]));
  return value;
}
function dressed(figure) {
  const style = getComputedStyle(document.documentElement), colour = name => style.getPropertyValue("--" + name).trim();
  const { data, layout } = coloured(figure, style);
  const line = { gridcolor: colour("line"), linecolor: colour("line"), zerolinecolor: colour("line"), automargin: true,
    tickfont: { color: colour("muted") }, fixedrange: innerWidth < 720, zeroline: false };
  const axes = Object.fromEntries(["xaxis", "yaxis"].map(name => [name, { ...line, ...layout[name],
    title: { standoff: 10, font: { color: colour("muted"), size: 13 }, ...(layout[name] || {}).title } }]));
  for (const trace of data) if (trace.colorbar) trace.colorbar = { ...trace.colorbar, tickfont: { color: colour("ink") } };
  return { data, layout: { hovermode: "closest", ...layout, ...axes, paper_bgcolor: colour("paper"), plot_bgcolor: colour("paper"),
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("ink") },
    margin: { l: 8, r: 12, t: data.some(each => each.name && each.showlegend !== false) ? 34 : 12, b: 8 },
    hoverlabel: { bgcolor: colour("soft"), bordercolor: colour("line"), align: "left", font: { color: colour("ink") } },
    autosize: true, legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", font: { size: 13 } } } };
}
function draw(plot, figure = figures[plot.dataset.figure]) {
  const made = makers[plot.dataset.figure], { data, layout } = dressed(made ? { ...figure, data: made() } : figure);
  Plotly.react(plot, data, layout, { responsive: true, displayModeBar: false });
  if (!plot.dataset.drawn) plot.on("plotly_click", event => clicked(event.points[0].customdata));
  plot.dataset.drawn = "yes";
}
const drawAll = () => plots().forEach(plot => draw(plot));
// The first screen at once; the others when the page has been shown, or is printed before that.
const waiting = new Set(plots());
function next() {
  for (const plot of waiting) { waiting.delete(plot); draw(plot); break; }
  if (waiting.size) setTimeout(next); else document.body.dataset.ready = "yes";
}
requestAnimationFrame(next);
dark.addEventListener("change", drawAll);
addEventListener("beforeprint", () => { waiting.clear(); drawAll(); plots().forEach(plot => Plotly.Plots.resize(plot)); });
addEventListener("afterprint", drawAll);
paper.addEventListener("change", drawAll);
