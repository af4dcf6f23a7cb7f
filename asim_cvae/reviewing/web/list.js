"use strict";
// The ranked list: filters, order, and a row an observation.

const ORDERS = {
  rank: ["interest", (one) => one.rank ?? Infinity],
  time: ["time", (one) => one.start_utc ?? "9"],
  latest: ["latest first", (one) => -(one.start_utc ? microseconds(one.start_utc) : 0)],
  pulses: ["number of pulses", (one) => -(one.pulses.pulse.length)],
  misfit: ["misfit", (one) => one.misfit ?? 2],
  unusual: ["unusual", (one) => -(one.unusual ?? -1)],
  latitude: ["latitude", (one) => -(one.latitude ?? -99)],
};
const LABELLED = { "": "labelled or not", no: "not labelled", yes: "labelled", queue: "suggested", selected: "selected" };
const rows = [];

function makeList() {
  const options = (select, entries) => select.append(...entries.map(([value, textContent]) => element("option", { value, textContent })));
  options($("f-class"), [["", "any class"], ...CLASSES.map((name) => [name, name])]);
  options($("f-kind"), [["", "any kind"], ...KINDS.map((name) => [name, name])]);
  options($("f-labels"), Object.entries(LABELLED));
  options($("sort"), Object.entries(ORDERS).map(([name, [words]]) => [name, `by ${words}`]));
  observations.forEach((_, index) => addRow(index));
  $("filters").oninput = applyFilters;
  $("filters").onchange = ({ target }) => { if (target.matches("select")) target.blur(); }; // so that keys act again
  $("filters").onsubmit = (event) => event.preventDefault();
  $("clear").onclick = () => { $("filters").reset(); applyFilters(); };
}

function addRow(index) {
  const one = observations[index];
  rows.push(element(
    "tr",
    { onclick: () => show(index), tabIndex: 0, onkeydown: ({ key }) => { if (key === "Enter") show(index); } },
    element("td", { textContent: one.rank ?? "-" }),
    element("td", {}, chip(one.class)),
    element("td", {}, element("div", { className: "why", textContent: one.why, title: one.why }), element("div", { className: "when" })),
  ));
}

function takes(one) {
  const text = $("f-text").value.trim().toLowerCase();
  const searched = () => [one.file, one.why, one.kinds, one.notes, String(one.observation_id), ...[...labels.values()].filter((label) => label.file === one.file).map((label) => label.note)].join("\n").toLowerCase();
  const day = (one.start_utc ?? "").slice(0, 10);
  const isWanted = {
    "": () => true,
    yes: () => isLabelled(one.file),
    no: () => !isLabelled(one.file),
    queue: () => queue.some((suggestion) => suggestion.file === one.file),
    selected: () => state.selected.has(one.file),
  }[$("f-labels").value];
  return (
    (!$("f-class").value || one.class === $("f-class").value) &&
    (!$("f-kind").value || (one.kinds ?? "").split("+").includes($("f-kind").value)) &&
    (!$("f-since").value || day >= $("f-since").value) &&
    (!$("f-until").value || (day && day <= $("f-until").value)) &&
    (one.interest ?? 0) >= Number($("f-interest").value) &&
    isWanted() &&
    (!text || searched().includes(text))
  );
}

function applyFilters() {
  const [, order] = ORDERS[$("sort").value];
  const key = (index) => order(observations[index]);
  state.shown = observations.map((_, index) => index).filter((index) => takes(observations[index]));
  state.shown.sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : a - b));
  $("list").tBodies[0].replaceChildren(...state.shown.map((index) => rows[index]));
  $("count").textContent = `${state.shown.length} of ${observations.length} observations`;
  state.shown.forEach(describeRow);
  drawLatent();
  drawWorld();
}

function describeRow(index) {
  const one = observations[index];
  const marks = [state.selected.has(one.file) ? "★ " : "", isLabelled(one.file) ? "✓ " : ""].join("");
  rows[index].querySelector(".when").textContent = `${marks}${dateAndTime(one.start_utc)}, interest ${number(one.interest)}${one.kinds ? `, ${one.kinds.replaceAll("+", ", ")}` : ""}`;
}

function markRow() {
  document.querySelector('#list [aria-current="true"]')?.removeAttribute("aria-current");
  rows[state.at].setAttribute("aria-current", "true");
  requestAnimationFrame(() => rows[state.at].scrollIntoView({ block: "nearest" })); // when all else is laid out
}

function walk(step) {
  if (!state.shown.length) return announce("no observation passes the filters");
  const at = state.shown.indexOf(state.at);
  const next = at < 0 ? 0 : Math.min(Math.max(at + step, 0), state.shown.length - 1);
  show(state.shown[next]);
}

function select() {
  const { file } = observations[state.at];
  if (!state.selected.delete(file)) state.selected.set(file, state.frame);
  describeRow(state.at);
  announce(state.selected.has(file) ? "selected for export" : "no longer selected");
}

function exportEvents() {
  const chosen = state.selected.size ? observations.filter((one) => state.selected.has(one.file)) : state.shown.map((index) => observations[index]);
  const columns = ["rank", "file", "observation_id", "frame", "start_utc", "latitude", "longitude", "class", "kinds", "interest", "why"];
  saveFile("events.csv", csv(columns, chosen.map((one) => columns.map((name) => (name === "frame" ? state.selected.get(one.file) ?? one.frame : one[name])))));
  announce(`${chosen.length} events exported`);
}
