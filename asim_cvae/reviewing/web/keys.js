"use strict";
// Keys for everything, and the table of them.

const KIND_KEYS = Object.fromEntries(KINDS.map((kind, at) => [kind, `shift+${at + 1}`]));

const KEYS = [
  ["j", "next observation", () => walk(1)],
  ["k", "previous observation", () => walk(-1)],
  ["ArrowRight", "next frame", () => selectFrame(state.frame + 1)],
  ["ArrowLeft", "previous frame", () => selectFrame(state.frame - 1)],
  ["q", "next frame to label", nextSuggested],
  ...CLASSES.map((name, at) => [String(at + 1), `label ${name}`, () => give({ class: name })]),
  ["0", "take class, kinds and note away", () => give({ class: null, kinds: [], note: "" })],
  ...KINDS.map((kind, at) => [`shift+${at + 1}`, `label ${kind}, or not`, () => toggleKind(kind)]),
  ["p", "next pulse", nextPulse],
  ["n", "write a note (Enter ends it)", () => $("note").focus()],
  ["u", "undo the last label", undo],
  ["z", "zoom to the frame", showFrame],
  ["x", "show the whole observation", showWhole],
  ["+", "zoom in (or the wheel, or drag)", () => zoomBy(0.6)],
  ["-", "zoom out", () => zoomBy(1 / 0.6)],
  [".", "move on in time (or Shift and the wheel)", () => panBy(0.3)],
  [",", "move back in time", () => panBy(-0.3)],
  ["r", "reconstruction on or off", toggleOverlay],
  ["y", "counts or flux", toggleUnits],
  ["m", "next colour of the map", nextColouring],
  ["l", "the frame most like this one", () => $("alike").querySelector("button")?.click()],
  ["v", "select for export, or not", select],
  ["e", "export the selected events, or all that are listed", exportEvents],
  ["s", "save the labels as a label table", saveLabels],
  ["/", "search", () => $("f-text").focus()],
  ["c", "clear the filters", () => $("clear").click()],
  ["d", "light or dark", toggleTheme],
  ["?", "these keys", () => $("help").showModal()],
];

const REPEATED = ["j", "k", "ArrowRight", "ArrowLeft", "+", "-", ".", ","];

function makeKeys() {
  $("keys").append(...KEYS.map(([key, words]) => element("tr", {}, element("td", {}, element("kbd", { textContent: key })), element("td", { textContent: words }))));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
    if (event.target.matches("input, select")) {
      if (event.key === "Escape" && event.target === $("note")) $("note").value = current().note;
      if (event.key === "Escape" || (event.key === "Enter" && event.target === $("note"))) event.target.blur();
      return;
    }
    // Digits by their place, as on some keyboards they need Shift.
    const digit = /^Digit\d$/.test(event.code) ? `${event.shiftKey ? "shift+" : ""}${event.code.slice(5)}` : event.key;
    const found = KEYS.find(([key]) => key === digit) ?? KEYS.find(([key]) => key === event.key);
    if (!found || (event.repeat && !REPEATED.includes(found[0])) || (state.at < 0 && !"?d/cs".includes(found[0]))) return;
    event.preventDefault();
    found[2]();
  });
}

async function toggleOverlay() {
  state.overlay = !state.overlay;
  $("overlay").setAttribute("aria-pressed", String(state.overlay));
  const rates = currentCurves && !currentCurves.rates ? "; there is none for this observation" : "";
  announce(`reconstruction ${state.overlay ? "on" : "off"}${rates}`);
  await drawCurves(true);
}

async function toggleUnits() {
  state.flux = !state.flux;
  plots.forEach((plot, k) => { plot.axes[1].label = axisLabel(data.photometers[k]); });
  $("units").textContent = state.flux ? "uW/m²" : "counts";
  announce(`values in ${state.flux ? "microwatts per square metre" : "counts a sample"}`);
  await drawCurves(true);
}

function nextColouring() {
  const box = $("map-colour");
  box.selectedIndex = (box.selectedIndex + 1) % box.options.length;
  drawLatent();
  announce(`map coloured by ${box.selectedOptions[0].textContent}`);
}

function toggleTheme() {
  const isDark = document.documentElement.dataset.theme === "dark";
  document.documentElement.dataset.theme = isDark ? "light" : "dark";
  plots.forEach((plot) => plot.redraw(false));
  drawLatent();
  drawWorld();
}
