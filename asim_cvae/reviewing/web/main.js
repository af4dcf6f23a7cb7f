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
  window.addEventListener("beforeunload", (event) => {
    $("note").blur();
    if (!isSaved()) event.preventDefault();
  });
  $("reviewer").value = setting(NAME);
  $("reviewer").onchange = () => setting(NAME, $("reviewer").value.trim());
  window.addEventListener("hashchange", goToAddress);
  window.addEventListener("storage", (event) => { if (event.key?.startsWith(`asim_cvae ${data.id}`)) readLabels(); }); // another tab
  if (served) window.addEventListener("focus", readLabels);
  await makeMaps();
  await readLabels();
  applyFilters();
  await goToAddress();
  document.documentElement.dataset.ready = "yes";
}

main().catch((error) => tell(`this page does not work: ${error.message}`, true));
