"use strict";
// The latent map of frames and the places of observations, on plain canvases.

const COLOURINGS = {
  class: "class",
  cluster: "cluster",
  label: "given label",
  interest: "interest",
  unusual: "unusual",
  misfit: "misfit (-log10 p)",
};
const EMPTY = "#9aa0a6";
const points = []; // frames of the page: observation, row of its frame, place
let others = null; // frames that are not on the page
let bounds = null; // of the latent map

async function makeMaps() {
  for (const [value, textContent] of Object.entries(COLOURINGS)) $("map-colour").append(element("option", { value, textContent }));
  $("map-colour").onchange = () => { drawLatent(); $("map-colour").blur(); };
  observations.forEach(({ frames }, index) => frames.frame.forEach((_, row) => {
    if (frames.map_x[row] !== null) points.push({ index, row, x: frames.map_x[row], y: frames.map_y[row] });
  }));
  others = data.map && (await unpackOthers(data.map));
  const all = (axis) => [...points.map((one) => one[axis]), ...(others ? others[axis] : [])];
  const extremes = (list) => list.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
  if (points.length) bounds = { x: extremes(all("x")), y: extremes(all("y")) };
  $("latent").onclick = (event) => pick(event, $("latent"), latentPlaces());
  $("world").onclick = (event) => pick(event, $("world"), worldPlaces());
  new ResizeObserver(() => { drawLatent(); drawWorld(); }).observe($("latent"));
}

async function unpackOthers({ points: count, low, high, packed }) {
  const buffer = await inflate(packed);
  const placed = (axis) => Array.from(new Uint16Array(buffer, axis * 2 * count, count), (code) => low[axis] + (code / 65535) * (high[axis] - low[axis]));
  const bytes = (row) => new Uint8Array(buffer, (4 + row) * count, count);
  return { x: placed(0), y: placed(1), class: bytes(0), cluster: bytes(1), interest: bytes(2) };
}

// What does not change as one walks is drawn once, beside the canvas.
const layers = { latent: document.createElement("canvas"), world: document.createElement("canvas") };

function layer(name) {
  const { clientWidth: width, clientHeight: height } = $(name);
  for (const canvas of [layers[name], $(name)]) [canvas.width, canvas.height] = [width * devicePixelRatio, height * devicePixelRatio];
  const pen = layers[name].getContext("2d");
  pen.scale(devicePixelRatio, devicePixelRatio);
  return { pen, width, height };
}

function over(name) {
  const pen = $(name).getContext("2d");
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, $(name).width, $(name).height);
  if (layers[name].width) pen.drawImage(layers[name], 0, 0);
  pen.scale(devicePixelRatio, devicePixelRatio);
  pen.strokeStyle = css("--text");
  return pen;
}

const scaled = (value, [low, high], size) => 8 + ((value - low) / (high - low || 1)) * (size - 16);

// From dim to bright in one hue, so that shades are told apart without colour vision.
function shadeOf(share) {
  const part = Math.max(0, Math.min(1, share));
  const isDark = document.documentElement.dataset.theme === "dark";
  return `hsl(${270 - 210 * part} 70% ${isDark ? 30 + 40 * part : 80 - 45 * part}%)`;
}

function colourOfPoint({ index, row }) {
  const { file, frames } = observations[index];
  switch ($("map-colour").value) {
    case "class": return frames.class[row] ? colourOfClass(frames.class[row]) : EMPTY;
    case "cluster": return frames.cluster[row] === null ? EMPTY : data.cluster_colours[frames.cluster[row] % data.cluster_colours.length];
    case "label": return labelOf(file, frames.frame[row])?.class ? colourOfClass(labelOf(file, frames.frame[row]).class) : EMPTY;
    case "interest": return shadeOf(frames.interest[row] / 5);
    case "unusual": return shadeOf((frames.unusual[row] - 0.5) * 2);
    default: return shadeOf(-Math.log10(Math.max(frames.misfit[row], 1e-6)) / 6);
  }
}

function colourOfOther(at) {
  switch ($("map-colour").value) {
    case "class": return data.classes[others.class[at]]?.colour ?? EMPTY;
    case "cluster": return others.cluster[at] === 255 ? EMPTY : data.cluster_colours[others.cluster[at] % data.cluster_colours.length];
    case "interest": return shadeOf(others.interest[at] / 100);
    default: return EMPTY;
  }
}

function latentPlaces(wanted = points) {
  if (!bounds) return [];
  const { clientWidth: width, clientHeight: height } = $("latent");
  return wanted.map((one) => ({ ...one, px: scaled(one.x, bounds.x, width), py: height - scaled(one.y, bounds.y, height) }));
}

function drawLatent() {
  const { pen, width, height } = layer("latent");
  if (!bounds) return void ($("map-words").textContent = "this model has no map");
  pen.globalAlpha = 0.25;
  for (let at = 0; at < (others?.x.length ?? 0); at++) {
    pen.fillStyle = colourOfOther(at);
    pen.fillRect(scaled(others.x[at], bounds.x, width), height - scaled(others.y[at], bounds.y, height), 1.5, 1.5);
  }
  pen.globalAlpha = 0.85;
  const shown = new Set(state.shown);
  for (const one of latentPlaces()) {
    if (!shown.has(one.index)) continue;
    pen.fillStyle = colourOfPoint(one);
    pen.fillRect(one.px - 1.5, one.py - 1.5, 3, 3);
  }
  const words = `${points.length} frames of this page${others ? `, faint: ${others.x.length} of other observations` : ""}`;
  $("map-words").textContent = `${words}. Rings: this observation. Click a point to see it.`;
  $("latent").setAttribute("aria-label", `Latent map of ${words}; the list and "most like this" lead to the same frames`);
  ringLatent();
}

function ringLatent() {
  const pen = over("latent");
  for (const one of latentPlaces(points.filter(({ index }) => index === state.at))) {
    const isFrame = observations[one.index].frames.frame[one.row] === state.frame;
    pen.lineWidth = isFrame ? 2.5 : 1;
    pen.beginPath();
    pen.arc(one.px, one.py, isFrame ? 7 : 4, 0, 7);
    pen.stroke();
  }
}

function worldPlaces(wanted = state.shown) {
  const { clientWidth: width, clientHeight: height } = $("world");
  return wanted.filter((index) => typeof observations[index]?.latitude === "number" && typeof observations[index].longitude === "number").map((index) => ({
    index,
    px: ((eastward(observations[index]) + 180) / 360) * width,
    py: ((60 - observations[index].latitude) / 120) * height,
  }));
}

function drawWorld() {
  const { pen, width, height } = layer("world");
  pen.strokeStyle = css("--grid");
  for (const line of [-30, 0, 30]) pen.strokeRect(-1, ((60 - line) / 120) * height, width + 2, 0);
  for (const line of [-120, -60, 0, 60, 120]) pen.strokeRect(((line + 180) / 360) * width, -1, 0, height + 2);
  pen.strokeStyle = css("--dim");
  pen.lineWidth = 0.6;
  for (const ring of data.land) {
    pen.beginPath();
    for (let at = 0; at < ring.length; at += 2) {
      const isOverDateLine = at > 0 && Math.abs(ring[at] - ring[at - 2]) > 180;
      pen[isOverDateLine ? "moveTo" : "lineTo"](((ring[at] + 180) / 360) * width, ((60 - ring[at + 1]) / 120) * height);
    }
    pen.stroke();
  }
  const places = worldPlaces();
  for (const { index, px, py } of places) {
    pen.fillStyle = colourOfClass(observations[index].class);
    pen.beginPath();
    pen.arc(px, py, 2.2, 0, 7);
    pen.fill();
  }
  $("world").setAttribute("aria-label", `Places of ${places.length} observations, drawn between 60 degrees south and north; latitude and longitude stand with each observation`);
  ringWorld();
}

function ringWorld() {
  const pen = over("world");
  pen.lineWidth = 2;
  for (const { px, py } of worldPlaces([state.at])) {
    pen.beginPath();
    pen.arc(px, py, 5, 0, 7);
    pen.stroke();
  }
}

function pick(event, canvas, places) {
  const { left, top } = canvas.getBoundingClientRect();
  const [x, y] = [event.clientX - left, event.clientY - top];
  let best = null;
  let least = 15 ** 2;
  for (const one of places) {
    const distance = (one.px - x) ** 2 + (one.py - y) ** 2;
    if (distance < least) [best, least] = [one, distance];
  }
  if (best) show(best.index, best.row === undefined ? undefined : observations[best.index].frames.frame[best.row]);
}
