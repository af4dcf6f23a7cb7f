"use strict";
// Labels: by `review` each is written to a journal at once; on the page as a file they are in the browser until saved.

const COLUMNS = ["File Name", "Frame Number", "Classification", "Kinds", "Chosen", "Reviewer", "Labelled At", "Model", "Note"];
const labels = new Map(); // entries by key of the frame
const done = []; // what each label replaced, the last one last
const unsent = []; // entries that the server has not confirmed
let saved = true; // whether all labels are in a file or a journal
const store = `asim_cvae labels ${data.folder} ${data.model}`;

const labelOf = (file, frame) => labels.get(frameKey(file, frame));
const isEmpty = (entry) => entry.class === null && !entry.kinds.length && !entry.note;
const isLabelled = (file) => [...labels.values()].some((entry) => entry.file === file);

function keep(entry) {
  const key = frameKey(entry.file, entry.frame);
  if (isEmpty(entry)) labels.delete(key);
  else labels.set(key, entry);
}

function current() {
  const { file, frames } = observations[state.at];
  const row = frames.frame.indexOf(state.frame);
  const blank = { class: null, kinds: [], note: "", chosen: state.chosen.get(frameKey(file, state.frame)) ?? "hand" };
  const seen = frames.class[row] ? { class: frames.class[row], probability: frames.probability[row] } : null;
  return { ...blank, ...labelOf(file, state.frame), file, frame: state.frame, seen };
}

function give(change) {
  const before = current();
  const entry = { ...before, ...change };
  if (JSON.stringify(entry) === JSON.stringify(before)) return;
  done.push(before);
  put(entry);
  announce(`frame ${entry.frame}: ${labelInWords(entry)}`);
}

function undo() {
  const before = done.pop();
  if (!before) return announce("nothing to undo");
  put(before);
  go(before.file, before.frame);
  announce(`undone: frame ${before.frame} is ${labelInWords(before)}`);
}

function put(entry) {
  const reviewer = $("reviewer").value.trim();
  const whole = { ...entry, reviewer, time: new Date().toISOString(), model: data.model };
  keep(whole);
  if (served) {
    unsent.push(whole);
    remember();
    send();
  } else {
    saved = false;
    remember();
  }
  labelsChanged();
}

// The browser keeps what is nowhere else: all labels of a page as a file, those that the server has not confirmed.
function remember() {
  try {
    localStorage.setItem(store, JSON.stringify(served ? unsent : [...labels.values()]));
  } catch {
    announce("this browser keeps no labels; save them before you leave");
  }
}

function remembered() {
  try {
    return JSON.parse(localStorage.getItem(store) ?? "[]");
  } catch {
    return []; // a browser that keeps nothing, or kept something else
  }
}

let isSending = false;

async function send() {
  if (isSending) return;
  isSending = true;
  while (unsent.length) {
    try {
      const { file, frame, kinds, note, chosen, seen } = unsent[0];
      const body = JSON.stringify({ file, frame, class: unsent[0].class, kinds, note, chosen, seen });
      const answer = await fetch("labels", { method: "POST", headers: { "Content-Type": "application/json" }, body });
      if (!answer.ok) throw new Error(await answer.text());
      unsent.shift();
      remember();
    } catch (error) {
      tell(`${unsent.length} labels are not saved: ${error.message}; trying again`, true);
      await new Promise((wake) => setTimeout(wake, 1000));
    }
  }
  isSending = false;
  labelsChanged();
}

async function readLabels() {
  if (served) {
    const waiting = [...unsent]; // may be in the journal only after it was read, and no longer unsent then
    const { reviewer, entries } = await (await fetch("labels")).json();
    $("reviewer").value = reviewer;
    $("reviewer").disabled = true;
    labels.clear();
    [...entries, ...waiting, ...unsent].forEach(keep);
  } else {
    labels.clear();
    remembered().forEach(keep);
    saved = labels.size === 0;
  }
  labelsChanged();
}

function sendRemembered() {
  unsent.push(...remembered());
  send();
}

function labelsInWords() {
  const many = `${labels.size} ${labels.size === 1 ? "frame" : "frames"} labelled`;
  if (unsent.length) return [`${many}, ${unsent.length} not saved yet`, true];
  if (served) return [`${many}, all in the journal`, false];
  if (!labels.size) return ["labels stay in this browser until you save them", false];
  return saved ? [`${many}, saved`, false] : [`${many}, in this browser alone: save them (s)`, true];
}

function labelInWords(entry) {
  const words = [entry.class, ...entry.kinds, entry.note && `note: ${entry.note}`].filter(Boolean);
  return words.length ? words.join(", ") : "without a label";
}

function saveLabels() {
  const entries = [...labels.values()].sort((a, b) => (a.file === b.file ? a.frame - b.frame : a.file < b.file ? -1 : 1));
  if (!entries.length) return announce("there are no labels to save");
  const rows = entries.map((one) => [
    one.file, one.frame, one.class, one.kinds.join("+"), one.chosen, one.reviewer, one.time, one.model, one.note,
  ]);
  const mark = "\ufeff"; // spreadsheets tell UTF-8 by it
  saveFile(`labels-${$("reviewer").value.trim() || "mine"}.csv`, mark + csv(COLUMNS, rows));
  saved = true;
  labelsChanged();
}

function labelsChanged() {
  tell(...labelsInWords());
  if (state.at >= 0) showLabels();
}
