"use strict";
// Frames that are suggested to be labelled, with how each was chosen.

let queue = data.queue;
const passed = new Set(); // keys of suggested frames that were looked at

async function nextSuggested() {
  $("note").blur();
  const before = [state.at, state.frame, log.length];
  if (served) queue = await askedQueue();
  if (before.join() !== [state.at, state.frame, log.length].join()) return; // somebody went on meanwhile
  const open = queue.find(({ file, frame }) => !labelOf(file, frame)?.class && !passed.has(frameKey(file, frame)));
  if (!open) return announce("no more frames are suggested; they come again when the page is opened anew");
  passed.add(frameKey(open.file, open.frame));
  state.chosen.set(frameKey(open.file, open.frame), open.chosen);
  await go(open.file, open.frame);
  showFrame();
}

async function askedQueue() {
  try {
    const answer = await fetch("queue");
    if (answer.ok) return await answer.json();
    announce(await answer.text());
  } catch {
    announce("the server does not answer; these are the frames that it suggested before");
  }
  return queue;
}

async function go(file, frame) {
  let index = observations.findIndex((one) => one.file === file);
  if (index < 0 && served) {
    const answer = await fetch(`observation?file=${encodeURIComponent(file)}`);
    if (!answer.ok) return announce(await answer.text());
    const told = await answer.json();
    index = observations.findIndex((one) => one.file === file); // it may have come meanwhile
    if (index < 0) {
      index = observations.push({ rank: null, ...told }) - 1;
      addRow(index);
    }
  }
  if (index >= 0) return show(index, frame);
  announce(`${file} is not on this page; review serves all observations`);
  if (state.at < 0 && state.shown.length) return show(state.shown[0]);
}

function goToAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const frame = Number(wanted.get("frame") ?? NaN);
  if (wanted.has("file")) return go(wanted.get("file"), Number.isInteger(frame) ? frame : undefined);
  if (state.at < 0 && state.shown.length) return show(state.shown[0]);
  if (!state.shown.length) announce("there are no observations");
}
