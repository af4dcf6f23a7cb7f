"use strict";

async function main() {
  document.documentElement.dataset.theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  document.title = `${data.folder}: events`;
  $("heading").textContent = `${data.folder}${observations.some((one) => one.simulated) ? " (simulated)" : ""}: ${observations.length} observations`;
  $("heading").title = `judged by ${data.program}, model ${data.model}`;
  makeList();
  makeLabelling();
  makeKeys();
  makePlots();
  const buttons = { save: saveLabels, export: exportEvents, theme: toggleTheme, "help-button": () => $("help").showModal(), units: toggleUnits, overlay: toggleOverlay, whole: showWhole, zoom: showFrame };
  for (const [id, action] of Object.entries(buttons)) $(id).onclick = action;
  window.addEventListener("beforeunload", (event) => { if (unsent.length || (!served && !saved)) event.preventDefault(); });
  window.addEventListener("hashchange", goToAddress);
  window.addEventListener("storage", (event) => { if (!served && event.key === store) readLabels(); }); // of another tab
  if (served) window.addEventListener("focus", () => { if (!unsent.length) readLabels(); });
  await makeMaps();
  if (served) sendRemembered();
  await readLabels();
  applyFilters();
  await goToAddress();
  document.documentElement.dataset.ready = "yes";
}

main().catch((error) => tell(`this page does not work in this browser: ${error.message}`, true));
