"use strict";
// What all parts of the page share. Text of files, notes and labels gets into the page by textContent alone.

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const observations = data.observations;
const served = location.protocol.startsWith("http"); // by `review`, which keeps the labels
const CLASSES = data.classes.map((one) => one.name);
const KINDS = data.kinds;
const MS = 1000 / data.sampling_rate; // of a sample
const FRAME_MS = data.frame_samples * MS;

const state = {
  shown: [], // indices of the observations that the filters take, in their order
  at: -1, // index of the observation that is looked at
  frame: 0, // its frame
  pulse: -1, // row of the pulse that was shown last; -1: none
  flux: false, // whether values are flux, not counts
  overlay: false, // whether the reconstruction is drawn
  selected: new Map(), // frames of the selected events, by file
  chosen: new Map(), // how a frame came to be labelled, by its key, where it was suggested
};

function element(tag, properties = {}, ...children) {
  const { style, attributes, ...others } = properties;
  const made = Object.assign(document.createElement(tag), others);
  for (const [name, value] of Object.entries(attributes ?? {})) made.setAttribute(name, value);
  for (const [name, value] of Object.entries(style ?? {})) made.style.setProperty(name, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const colourOfClass = (name) => data.classes.find((one) => one.name === name)?.colour ?? "#999999";
const chip = (name) => element("span", { className: "chip", textContent: name ?? "-", style: { "--chip": colourOfClass(name) } });
const frameKey = (file, frame) => `${file}\n${frame}`;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function number(value, digits = 3) {
  if (value === null || value === undefined) return "-";
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)) return value.toExponential(1);
  return String(Number(value.toPrecision(digits)));
}

// Times are microseconds since 1970: a Date has no more than milliseconds.
const microseconds = (text) => Date.parse(`${text.slice(0, 23)}Z`) * 1000 + Number(text.slice(23, 26));

function utc(micro) {
  const whole = Math.floor(micro / 1000);
  return `${new Date(whole).toISOString().slice(0, 23)}${String(Math.round(micro - whole * 1000)).padStart(3, "0")}`;
}

const clock = (micro) => utc(micro).slice(11);
const dateAndTime = (text) => (text ? `${text.slice(0, 10)} ${text.slice(11, 19)}` : "time unknown");

// Degrees east from -180 to 180; files may count on.
const eastward = ({ longitude }) => (longitude === null ? null : ((((longitude + 180) % 360) + 360) % 360) - 180);

function place(observation) {
  const { latitude } = observation;
  const longitude = eastward(observation);
  if (latitude === null || longitude === null) return "place unknown";
  const of = (degrees, positive, negative) => `${Math.abs(degrees).toFixed(1)}° ${degrees < 0 ? negative : positive}`;
  return `${of(latitude, "N", "S")}, ${of(longitude, "E", "W")}`;
}

function announce(text) {
  $("announce").textContent = text;
}

function tell(text, isWarning = false) {
  $("state").textContent = text;
  $("state").classList.toggle("warn", isWarning);
}

function saveFile(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

function csv(columns, rows) {
  // A cell that a spreadsheet would take for a formula gets an apostrophe.
  const cell = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    const safe = typeof value === "string" && /^'*[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return [columns, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}
