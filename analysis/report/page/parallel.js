"use strict";
// Parallel coordinates, drawn as SVG so that they print; a brush is [low, high] on an axis from 0 to 1.
const LINES = 400, WIDE = { left: 34, right: 92, top: 34, height: 300, lane: 46, least: 128 };
let width = 0, lines = {};
const acrossAt = i => WIDE.left + i * (width - WIDE.left - WIDE.right) / Math.max(1, axes.length - 1);
const downAt = unit => WIDE.top + (1 - Math.max(0, unit)) * WIDE.height - (unit < 0 ? unit / LANE * -WIDE.lane : 0);
function buildLines() {
  const box = byId("parallel");
  if (!box) return;
  width = Math.max(box.parentElement.clientWidth, WIDE.left + WIDE.right + (axes.length - 1) * WIDE.least);
  const lanes = axes.some(axis => axis.at.includes(LANE)), height = WIDE.top + WIDE.height + (lanes ? WIDE.lane : 0) + 16;
  box.replaceChildren();
  box.setAttribute("viewBox", `0 0 ${width} ${height}`);
  box.style.minWidth = `${WIDE.left + WIDE.right + (axes.length - 1) * WIDE.least}px`;
  for (const name of ["faint", "other", "set", "winner", "hovered"]) lines[name] = svg(box, "path", { class: name });
  axes.forEach((axis, i) => {
    const x = acrossAt(i), empty = axis.at.includes(LANE), last = i === axes.length - 1;
    svg(box, "line", { class: "axis", x1: x, x2: x, y1: downAt(1), y2: downAt(0) });
    svg(box, "text", { class: "name", x: last ? x - 10 : i ? x : 0, y: 14, "text-anchor": i && !last ? "middle" : "start" }, axis.name + (axis.log ? " (log)" : ""));
    for (const [unit, text] of [...axis.ticks, ...(empty ? [[LANE, axis.empty]] : [])])
      svg(box, "text", { class: "tick", x: x + 6, y: downAt(unit) + 4 }, text.length > 16 ? `${text.slice(0, 15)}…` : text);
    axis.mark = svg(box, "rect", { class: "brush", x: x - 9, width: 18 });
    const hit = svg(box, "rect", { class: "hit", x: x - 16, width: 32, y: downAt(1) - 8, "data-axis": axis.name });
    hit.setAttribute("height", downAt(empty ? LANE : 0) - downAt(1) + 16);
    svg(hit, "title", {}, `drag along the axis to filter by ${axis.name}; click to clear`);
    hit.onpointerdown = event => brush(event, hit, axis);
  });
  box.onpointermove = event => !event.buttons && hover(event);
  box.onpointerleave = () => hover();
  box.onclick = event => { const config = !event.target.dataset.axis && nearest(event); if (config) openConfig(config.id); };
}
function brush(event, hit, axis) {
  const box = byId("parallel"), before = state.brushes[axis.name];
  const unit = each => {
    const y = WIDE.top + WIDE.height - (each.clientY - box.getBoundingClientRect().top) * width / box.clientWidth;
    return y >= 0 ? Math.min(1, y / WIDE.height) : Math.max(LANE, LANE * y / -WIDE.lane);
  };
  const from = unit(event);
  hit.setPointerCapture(event.pointerId);
  hit.onpointermove = each => {
    const to = unit(each);
    if (Math.abs(to - from) > 0.02) { state.brushes[axis.name] = [Math.min(from, to) - 0.01, Math.max(from, to) + 0.01]; update(); }
  };
  hit.onpointerup = () => {
    hit.onpointermove = hit.onpointerup = null;
    if (state.brushes[axis.name] !== before) return;
    delete state.brushes[axis.name];
    const level = axis.at.reduce((best, at) => Math.abs(at - from) < Math.abs(best - from) ? at : best, 9);
    if (!before && (axis.levels || level === LANE)) state.brushes[axis.name] = [level - 0.01, level + 0.01];
    update();
  };
}
const path = config => axes.map((axis, i) => `${i ? "L" : "M"}${acrossAt(i).toFixed(1)} ${downAt(axis.at[config.order]).toFixed(1)}`).join("");
function drawLines() {
  if (!byId("parallel")) return;
  const there = new Set(shown), kind = c => !there.has(c) ? "faint" : c.place in lines ? c.place : "other";
  for (const [name, line] of Object.entries(lines))
    line.setAttribute("d", thinned(run.configs.filter(c => kind(c) === name), LINES).map(path).join(""));
  for (const axis of axes) {
    const [low, high] = state.brushes[axis.name] || [0, 0];
    axis.mark.setAttribute("y", downAt(high));
    axis.mark.setAttribute("height", low || high ? downAt(low) - downAt(high) : 0);
  }
}
function nearest(event) {  // the line that passes closest to the pointer
  const box = byId("parallel"), area = box.getBoundingClientRect(), zoom = width / area.width;
  const x = (event.clientX - area.left) * zoom, y = (event.clientY - area.top) * zoom;
  const i = axes.findIndex((_, place) => acrossAt(place + 1) >= x), left = Math.min(Math.max(i, 0), axes.length - 2);
  const share = (x - acrossAt(left)) / (acrossAt(left + 1) - acrossAt(left));
  if (i < 0 || share < -0.2) return null;
  let best = null, apart = 12;
  for (const c of shown) {
    const [from, to] = [downAt(axes[left].at[c.order]), downAt(axes[left + 1].at[c.order])], gap = Math.abs(from + share * (to - from) - y);
    if (gap < apart) [best, apart] = [c, gap];
  }
  return best;
}
function hover(event) {  // none: the pointer has left
  const config = event && nearest(event), box = byId("hint");
  lines.hovered.setAttribute("d", config ? path(config) : "");
  box.hidden = !config;
  if (!config) return;
  const words = [...valuesText(config).split("\n"), `expected ${run.metric}: ${number(config.expected)}`];
  box.replaceChildren(tag("b", {}, `${config.id} ${config.place}`), ...words.map(each => tag("div", {}, each)));
  box.style.left = `${Math.min(event.clientX + 14, innerWidth - box.offsetWidth - 8)}px`;
  box.style.top = `${Math.min(event.clientY + 14, innerHeight - box.offsetHeight - 8)}px`;
}
