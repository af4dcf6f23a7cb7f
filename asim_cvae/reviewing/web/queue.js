"use strict";
// Frames that are suggested to be labelled, with how each was chosen.

let queue = data.queue;
const passed = new Set(); // keys of suggested frames that were looked at

async function nextSuggested() {
  if (served) queue = await (await fetch("queue")).json();
  const open = queue.find(({ file, frame }) => !labelOf(file, frame)?.class && !passed.has(frameKey(file, frame)));
  if (!open) return announce("no more frames are suggested; they come again when the page is opened anew");
  passed.add(frameKey(open.file, open.frame));
  state.chosen.set(frameKey(open.file, open.frame), open.chosen);
  await go(open.file, open.frame);
  showFrame();
}

async function go(file, frame) {
  let index = observations.findIndex((one) => one.file === file);
  if (index < 0 && served) {
    const answer = await fetch(`observation?file=${encodeURIComponent(file)}`);
    if (!answer.ok) return tell(await answer.text(), true);
    index = observations.push({ rank: null, ...(await answer.json()) }) - 1;
    addRow(index);
  }
  if (index < 0) return announce(`${file} is not on this page`);
  return show(index, frame);
}

function goToAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const frame = Number(wanted.get("frame"));
  if (wanted.has("file")) return go(wanted.get("file"), Number.isInteger(frame) ? frame : undefined);
  return state.shown.length ? show(state.shown[0]) : undefined;
}
