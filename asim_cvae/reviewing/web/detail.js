"use strict";
// One observation: its words and numbers, the label of the frame that is looked at, and frames like it.

const PULSE_COLUMNS = {
  pulse: "", onset_ms: "onset (ms)", kind: "kind", photometers: "in", peak_counts_337: "337 (counts)", peak_counts_uv: "UV (counts)", peak_counts_777: "777.4 (counts)",
  fluence_337: "337 (uJ/m2)", fluence_777: "777.4 (uJ/m2)", rise_ms: "rise (ms)", decay_ms: "decay (ms)", width_ms: "width (ms)", delay_ms: "777.4 after 337 (ms)", ratio_337_777: "337/777.4", significance: "sigma", flags: "flags",
};
const ALIKE = 8;

function show(index, frame) {
  $("note").blur(); // keeps what is written in it, for the frame that it is about
  const isOther = index !== state.at;
  state.at = index;
  const one = observations[index];
  const wanted = frame ?? (isOther ? one.frame ?? 0 : state.frame);
  state.frame = one.frames.frame.includes(wanted) ? wanted : one.frame ?? 0;
  $("readout").textContent = "";
  $("title").textContent = `${one.rank ? `${one.rank}. ` : ""}Observation ${one.observation_id}, ${one.start_utc ? `${utc(microseconds(one.start_utc)).replace("T", " ")} UTC` : "time unknown"}, ${place(one)}`;
  $("why").textContent = one.why;
  $("facts").textContent = [
    one.file, `level ${one.level}`, `${one.frames.frame.length} frames, ${one.kept_frames} kept`, `${one.pulses.pulse.length} pulses`, one.hits && `${one.hits} particle hits`,
    one.kinds && `kinds: ${one.kinds.replaceAll("+", ", ")}`, `interest ${number(one.interest)}`, `misfit ${number(one.misfit)}`, `unusual ${number(one.unusual, 4)}`,
    one.phot_triggers && `triggered: ${one.phot_triggers}`, one.mxgs_trigger === 1 && "MXGS trigger", one.notes,
  ].filter(Boolean).join(" · ");
  if (isOther) {
    state.pulse = -1;
    pulsesTable();
    framesTable();
    markRow();
    ringWorld();
    announce(`observation ${one.observation_id}: ${one.why}`);
  }
  frameChanged();
  return drawCurves(!isOther).then((hasCurves) => {
    if (!hasCurves) $("readout").textContent = "no light curve: the file was not found or is another one now, or the page was full";
  });
}

function selectFrame(frame) {
  if (!observations[state.at].frames.frame.includes(frame)) return;
  $("note").blur();
  state.frame = frame;
  frameChanged();
  keepInView();
  plots.forEach((plot) => plot.redraw());
  drawStrip();
  announce(frameInWords(observations[state.at].frames.frame.indexOf(frame)));
}

function keepInView() {
  const { min, max } = plots[0].scales.x;
  const [first, last] = [state.frame * FRAME_MS, (state.frame + 1) * FRAME_MS];
  if (first < min - 1e-9 || last > max + 1e-9) setRange(first, first + Math.max(max - min, FRAME_MS));
}

function frameChanged() {
  const { frames, file } = observations[state.at];
  const row = frames.frame.indexOf(state.frame);
  const likely = KINDS.map((kind) => [kind, frames[kind.replaceAll(" ", "_")][row]]).filter(([, p]) => p !== null && p >= 0.1);
  $("frame-facts").textContent = row < 0 ? "no whole frame" : [
    frameInWords(row), frames.margin[row] !== null && `margin ${number(frames.margin[row], 2)}`,
    likely.length && likely.map(([kind, p]) => `${kind} ${number(p, 2)}`).join(", "),
    frames.cluster[row] !== null && `cluster ${frames.cluster[row]} (${frames.cluster_class[row]})`, `misfit ${number(frames.misfit[row])}`, `unusual ${number(frames.unusual[row], 4)}`,
    frames.kept[row] === false && "dropped as noise", state.frame !== observations[state.at].frame && frames.why[row],
  ].filter(Boolean).join(" · ");
  document.querySelectorAll("#frames tbody tr").forEach((line, at) => line.classList.toggle("now", at === row));
  showLabels();
  showAlike(row);
  ringLatent();
  try {
    history.replaceState(null, "", `#file=${encodeURIComponent(file)}&frame=${state.frame}`);
  } catch {
    // some browsers allow only so many addresses a second
  }
}

function makeLabelling() {
  data.classes.forEach(({ name, about }, at) => $("class-buttons").append(element(
    "button", { title: `${about} (${at + 1})`, onclick: () => give({ class: current().class === name ? null : name }) }, element("kbd", { textContent: at + 1 }), " ", chip(name),
  )));
  KINDS.forEach((kind) => $("kind-buttons").append(element("button", { title: `${kind} (${KIND_KEYS[kind]})`, textContent: kind, onclick: () => toggleKind(kind) })));
  let about = null; // the frame of the note that is written
  const keepNote = () => about && give({ note: $("note").value.trim() }, ...about);
  let pause = 0;
  $("note").onfocus = () => { about = [observations[state.at].file, state.frame]; };
  $("note").oninput = () => { clearTimeout(pause); pause = setTimeout(keepNote, 800); }; // lest a kill take it along
  $("note").onblur = () => { clearTimeout(pause); keepNote(); about = null; noteIsOpen = false; };
  $("undo").onclick = undo;
  $("next").onclick = nextSuggested;
}

function toggleKind(kind) {
  const { kinds } = current();
  give({ kinds: kinds.includes(kind) ? kinds.filter((other) => other !== kind) : KINDS.filter((one) => kinds.includes(one) || one === kind) });
}

function showLabels() {
  const entry = current();
  [...$("class-buttons").children].forEach((button, at) => button.setAttribute("aria-pressed", String(CLASSES[at] === entry.class)));
  [...$("kind-buttons").children].forEach((button, at) => button.setAttribute("aria-pressed", String(entry.kinds.includes(KINDS[at]))));
  if (document.activeElement !== $("note")) $("note").value = entry.note;
  const way = { hand: "chosen by you", random: "suggested at random", margin: "suggested as the classes are nearly as likely", anomaly: "suggested as unusual" }[entry.chosen];
  const given = labelOf(entry.file, entry.frame);
  $("label-state").textContent = given ? `${labelInWords(given)}, by ${given.reviewer || "you"}, ${given.time.slice(0, 16).replace("T", " ")} UTC, ${way}` : `no label yet; ${way}`;
  describeRow(state.at);
  drawStrip();
}

function table(box, columns, count, cell, onclick) {
  const body = element("tbody", {}, ...Array.from({ length: count }, (_, row) => element(
    "tr", { onclick: () => onclick(row) },
    ...Object.keys(columns).map((name) => element("td", { textContent: cell(name, row), className: name === "why" ? "text" : "" })),
  )));
  const head = element("thead", {}, element("tr", {}, ...Object.entries(columns).map(([name, words]) => element("th", { textContent: words || name, attributes: { scope: "col" } }))));
  box.replaceChildren(element("table", {}, head, body));
}

function pulsesTable() {
  const { pulses, hits } = observations[state.at];
  const cell = (name, row) => (typeof pulses[name][row] === "number" ? number(pulses[name][row], name === "onset_ms" ? 6 : 3) : pulses[name][row] ?? "-");
  table($("pulses").querySelector(".scroll"), PULSE_COLUMNS, pulses.pulse.length, cell, showPulse);
  $("pulses").querySelector("summary").textContent = `Pulses (${pulses.pulse.length}${hits ? `, without ${hits} particle hits` : ""})`;
}

function showPulse(row) {
  const { onset_ms: onset, width_ms: width } = observations[state.at].pulses;
  const around = Math.max(width[row] ?? 1, 0.5);
  state.pulse = row;
  selectFrame(Math.floor(onset[row] / FRAME_MS));
  setRange(onset[row] - 4 * around, onset[row] + 8 * around);
}

function nextPulse() {
  const { onset_ms: onset, pulse } = observations[state.at].pulses;
  const next = state.pulse + 1;
  if (next >= pulse.length) return announce("no further pulse");
  showPulse(next);
  announce(`pulse ${pulse[next]} at ${number(onset[next], 6)} ms`);
}

function framesTable() {
  const { frames } = observations[state.at];
  const kinds = Object.fromEntries(KINDS.map((kind) => [kind.replaceAll(" ", "_"), kind]));
  const columns = { frame: "frame", time_utc: "UTC", class: "class", probability: "p", ...kinds, misfit: "misfit", unusual: "unusual", interest: "interest", why: "why" };
  const cell = (name, row) => (name === "time_utc" ? frames.time_utc[row].slice(11, 26) : typeof frames[name][row] === "number" ? number(frames[name][row]) : frames[name][row] ?? "-");
  table($("frames").querySelector(".scroll"), columns, frames.frame.length, cell, (row) => selectFrame(frames.frame[row]));
  $("frames").querySelector("summary").textContent = `Frames (${frames.frame.length})`;
}

const described = observations.flatMap(({ frames }, index) => frames.description.flatMap((one, row) => (one ? [{ index, row }] : [])));
let scales = null; // of the descriptions, one a dimension

function standardDeviations() {
  const all = described.map(({ index, row }) => observations[index].frames.description[row]);
  return (all[0] ?? []).map((_, at) => {
    const mean = all.reduce((sum, one) => sum + one[at], 0) / all.length;
    return Math.sqrt(all.reduce((sum, one) => sum + (one[at] - mean) ** 2, 0) / all.length) || 1;
  });
}

function showAlike(row) {
  const { frames } = observations[state.at];
  const wanted = row < 0 ? null : frames.description[row];
  if (!wanted) return $("alike").replaceChildren("a frame that touches a gap is like no other");
  scales ??= standardDeviations();
  const nearest = new Map(); // the nearest frame of each other observation
  for (const { index, row: other } of described) {
    if (index === state.at) continue;
    const description = observations[index].frames.description[other];
    const distance = Math.sqrt(description.reduce((sum, value, at) => sum + ((value - wanted[at]) / scales[at]) ** 2, 0));
    if (distance < (nearest.get(index)?.distance ?? Infinity)) nearest.set(index, { index, row: other, distance });
  }
  const best = [...nearest.values()].sort((a, b) => a.distance - b.distance).slice(0, ALIKE);
  $("alike").replaceChildren(...best.map(({ index, row: other, distance }) => {
    const one = observations[index];
    const frame = one.frames.frame[other];
    const words = `${one.frames.class[other] ?? "frame"}, observation ${one.observation_id} frame ${frame}, distance ${number(distance, 2)}`;
    return element("li", {}, element("button", { textContent: words, onclick: () => show(index, frame) }));
  }));
}
