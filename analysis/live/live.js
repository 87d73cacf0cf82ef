"use strict";
// Keeps a page of the server up to date: rows and the line above a report at once, the report when it has been built.
const strip = byId("strip"), opened = strip && strip.dataset.run;
const source = new EventSource(`/events${opened ? `?run=${opened}` : ""}`);
const element = html => { const made = document.createElement("template"); made.innerHTML = html; return made.content.firstElementChild; };
source.addEventListener("open", () => connected(""));
source.addEventListener("error", () => connected("not connected: what you see may be old"));
source.addEventListener("run", event => {
  const { run, row, line } = JSON.parse(event.data), list = byId("runs");
  if (strip && run === opened) strip.innerHTML = line;
  if (!list) return;
  const old = [...list.children].find(each => each.dataset.run === run), fresh = element(`<table><tbody>${row}</tbody></table>`).querySelector("tr");
  if (old) fresh.querySelector("input").checked = old.querySelector("input").checked;
  if (old) old.replaceWith(fresh); else list.append(fresh);
  byId("none").hidden = true;
});
source.addEventListener("report", () => renew());
function connected(problem) { for (const each of document.querySelectorAll("#connection")) each.textContent = problem; }

async function renew() {
  const response = await fetch(location.pathname);
  if (!response.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  if (["#explorer", "#parallel", "[data-figure=curves]"].some(each => !document.querySelector(each) !== !fresh.querySelector(each))) return location.reload();
  const before = figures;
  for (const id of ["figures", "run"]) byId(id).textContent = fresh.getElementById(id).textContent;
  figures = { ...before, ...read("figures") };  // also those that only this page has
  document.querySelector(".subtitle").textContent = fresh.querySelector(".subtitle").textContent;
  const parts = page => [page.querySelector("main"), ...page.querySelectorAll("main section")];
  const here = new Map(parts(document).map(each => [each.id, each]));
  let last = null;
  for (const part of parts(fresh)) {
    const old = here.get(part.id), made = document.adoptNode(part);
    if (!old) last.after(made);
    else if (part.id === "configs") words(old, made);
    else { adopt(old, made); old.replaceWith(made); }
    last = old && part.id === "configs" ? old : made;
  }
  for (const plot of plots()) {
    const name = plot.dataset.figure;
    if (!plot.dataset.drawn || JSON.stringify(before[name]) !== JSON.stringify(figures[name]) || makers[name]) draw(plot);
  }
  if (byId("explorer")) start();
  document.body.dataset.renewed = Number(document.body.dataset.renewed || 0) + 1;
}
function words(old, made) {  // titles and captions; what can be clicked stays
  const texts = part => [...part.querySelectorAll(":scope > .grid > figure, :scope > .grid > .wide > figure")].flatMap(each => [...each.querySelectorAll("h3, figcaption")]);
  texts(made).forEach((each, i) => { if (texts(old)[i]) texts(old)[i].textContent = each.textContent; });
}
function adopt(old, made) {  // drawn figures move over, so that nothing flickers; opened details stay open
  for (const plot of made.querySelectorAll(".plot")) {
    const drawn = [...old.querySelectorAll(".plot")].find(each => each.dataset.figure === plot.dataset.figure);
    if (drawn) plot.replaceWith(drawn);
  }
  const open = [...old.querySelectorAll("details[open] > summary")].map(each => each.textContent);
  for (const each of made.querySelectorAll("details > summary")) each.parentElement.open = open.includes(each.textContent);
}
