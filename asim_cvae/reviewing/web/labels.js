"use strict";
// Labels: by `review` each is written to a journal at once; on the page as a file they are in the browser until saved.

const COLUMNS = ["File Name", "Frame Number", "Classification", "Kinds", "Chosen", "Reviewer", "Labelled At", "Model", "Note"];
const WAYS = ["random", "margin", "anomaly", "hand"]; // a frame that several chose counts as chosen by the first of them
const labels = new Map(); // entries by key of the frame
const done = []; // what each label replaced, the last one last
const log = []; // entries that were given on this page, in their order
let noteIsOpen = false; // whether the last entry is of a note that is still being written

const labelOf = (file, frame) => labels.get(frameKey(file, frame));
const isEmpty = (entry) => entry.class === null && !entry.kinds.length && !entry.note;

function isLabelled(file) {
  for (const entry of labels.values()) if (entry.file === file) return true;
  return false;
}

function keep(entry) {
  const key = frameKey(entry.file, entry.frame);
  if (isEmpty(entry)) labels.delete(key);
  else labels.set(key, entry);
}

function current(file = observations[state.at].file, frame = state.frame) {
  const { frames } = observations.find((one) => one.file === file);
  const row = frames.frame.indexOf(frame);
  const given = labelOf(file, frame);
  const ways = [given?.chosen, state.chosen.get(frameKey(file, frame)), "hand"].filter(Boolean);
  const chosen = WAYS.find((way) => ways.includes(way));
  const seen = frames.class[row] ? { class: frames.class[row], probability: frames.probability[row] } : null;
  return { class: null, kinds: [], note: "", ...given, chosen, file, frame, seen };
}

function give(change, file, frame) {
  const before = current(file, frame);
  const entry = { ...before, ...change };
  if (!observations[state.at].frames.frame.includes(before.frame) && file === undefined) return announce("there is no whole frame to label");
  if (JSON.stringify(entry) === JSON.stringify(before)) return;
  if (served && !pending) return tell("the labels cannot be read, so none is taken; open the page anew", true);
  const isNote = Object.keys(change).join() === "note";
  if (!(isNote && noteIsOpen)) done.push(before); // a note is one step, however often it was kept
  noteIsOpen = isNote;
  put(entry);
  if (!isNote) announce(`frame ${entry.frame}: ${labelInWords(entry)}`);
}

function undo() {
  const before = done.pop();
  if (!before) return announce("nothing to undo");
  noteIsOpen = false;
  put(before);
  go(before.file, before.frame);
  announce(`undone: frame ${before.frame} is ${labelInWords(before)}`);
}

function put(entry) {
  const whole = { ...entry, reviewer: $("reviewer").value.trim(), time: new Date().toISOString(), model: data.model };
  keep(whole);
  log.push(whole);
  if (served) {
    pending.add(whole);
    send();
  } else {
    kept.add(whole);
  }
  labelsChanged();
}

// What the browser keeps, a key an entry, so that tabs do not overwrite each other; also in memory, should it refuse.
class Kept {
  constructor(prefix, keyOf) {
    Object.assign(this, { prefix, keyOf, memory: new Map() });
  }

  add(entry) {
    const key = this.prefix + this.keyOf(entry);
    this.memory.set(key, entry);
    try {
      localStorage.setItem(key, JSON.stringify(entry));
      this.memory.delete(key);
    } catch {
      tell("this browser keeps no labels: save them before you leave", true);
    }
  }

  remove(key) {
    this.memory.delete(key);
    try {
      localStorage.removeItem(key);
    } catch {
      // it kept none
    }
  }

  entries() {
    const found = new Map(this.memory);
    try {
      for (const key of Object.keys(localStorage)) if (key.startsWith(this.prefix)) found.set(key, JSON.parse(localStorage.getItem(key)));
    } catch {
      // a browser that keeps nothing, or kept something else
    }
    return [...found].sort(([a, one], [b, other]) => (one.time === other.time ? (a < b ? -1 : 1) : one.time < other.time ? -1 : 1));
  }
}

const kept = new Kept(`asim_cvae ${data.id} label `, (entry) => frameKey(entry.file, entry.frame)); // of the page as a file
let pending = null; // of a reviewer: entries that the server has not confirmed
let isWaiting = false;

async function send() {
  if (isWaiting) return;
  const answer = await navigator.locks.request(pending.prefix, sendAll); // one tab at a time, so that order is kept
  if (answer) {
    tell(`${pending.entries().length} labels are not saved: ${answer}; trying again`, true);
    isWaiting = true;
    await new Promise((wake) => setTimeout(wake, 1000));
    isWaiting = false;
    return send();
  }
  labelsChanged();
}

async function sendAll() {
  for (let first = pending.entries()[0]; first; first = pending.entries()[0]) {
    const [key, { reviewer, model, ...entry }] = first;
    let answer;
    try {
      answer = await fetch("labels", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(entry) });
    } catch {
      return "the server does not answer";
    }
    if (![200, 400, 413, 415].includes(answer.status)) return await answer.text();
    pending.remove(key);
    if (answer.status !== 200) refuse(entry, await answer.text());
  }
  return "";
}

function refuse(entry, reason) {
  if (labelOf(entry.file, entry.frame)?.time === entry.time) labels.delete(frameKey(entry.file, entry.frame));
  refusals.push(`frame ${entry.frame} of ${entry.file}: ${reason}`);
}

const refusals = []; // labels that the server will never take
let reads = 0;

async function readLabels() {
  if (!served) {
    labels.clear();
    for (const [, entry] of kept.entries()) keep(entry);
    return labelsChanged();
  }
  const [turn, from] = [++reads, log.length];
  const waiting = pending?.entries() ?? [];
  const answer = await fetch("labels").catch(() => null);
  if (!answer?.ok) return tell(`the labels cannot be read: ${answer ? await answer.text() : "the server does not answer"}`, true);
  const { reviewer, entries } = await answer.json();
  if (turn !== reads) return; // a later reading knows more
  pending ??= new Kept(`asim_cvae ${data.id} ${reviewer} `, () => crypto.randomUUID());
  $("reviewer").value = reviewer;
  $("reviewer").disabled = true;
  labels.clear();
  [...entries, ...waiting.map(([, entry]) => entry), ...pending.entries().map(([, entry]) => entry), ...log.slice(from)].forEach(keep);
  labelsChanged();
  if (pending.entries().length) send();
}

const SAVED = `asim_cvae ${data.id} saved`;
const NAME = "asim_cvae reviewer";

function setting(name, value) {
  try {
    if (value !== undefined) localStorage.setItem(name, value);
    return localStorage.getItem(name) ?? "";
  } catch {
    return value ?? "";
  }
}

let savedAt = setting(SAVED); // the time of the last entry in a saved table
const isSaved = () => (served ? !pending?.entries().length : !labels.size || kept.entries().every(([, entry]) => entry.time <= (setting(SAVED) || savedAt)));

function labelsInWords() {
  if (refusals.length) return [`a label was refused: ${refusals.at(-1)}`, true];
  const many = `${labels.size} ${labels.size === 1 ? "frame" : "frames"} labelled`;
  if (served) return isSaved() ? [`${many}, all in the journal`, false] : [`${many}, ${pending.entries().length} not saved yet`, true];
  if (isSaved()) return [labels.size ? `${many}, saved` : "labels stay in this browser until you save them", false];
  return [`${many}, in this browser alone: save them (s)`, true];
}

function labelInWords(entry) {
  const words = [entry.class, ...entry.kinds, entry.note && `note: ${entry.note}`].filter(Boolean);
  return words.length ? words.join(", ") : "without a label";
}

function saveLabels() {
  const entries = [...labels.values()].sort((a, b) => (a.file === b.file ? a.frame - b.frame : a.file < b.file ? -1 : 1));
  if (!entries.length) return announce("there are no labels to save");
  const name = $("reviewer").value.trim();
  const rows = entries.map((one) => [
    one.file, one.frame, one.class, one.kinds.join("+"), one.chosen, one.reviewer || name, one.time, one.model, one.note,
  ]);
  const mark = "\ufeff"; // spreadsheets tell UTF-8 by it
  saveFile(`labels-${name || "mine"}.csv`, mark + csv(COLUMNS, rows));
  if (!served) savedAt = setting(SAVED, kept.entries().at(-1)[1].time);
  labelsChanged();
}

function labelsChanged() {
  tell(...labelsInWords());
  if (state.at >= 0) showLabels();
}
