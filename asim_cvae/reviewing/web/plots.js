"use strict";
// Three photometers on one axis of time, and the strip of frames above them.

const plots = [];
const LEFT = 62; // pixels of the axis
let currentCurves = null;

function makePlots() {
  data.photometers.forEach((photometer, k) => {
    const isLast = k === data.photometers.length - 1;
    const axis = { stroke: () => css("--dim"), grid: { stroke: () => css("--grid"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    const options = {
      ...plotSize(k),
      cursor: { sync: { key: "time" }, drag: { x: true, y: false }, points: { size: 5 } },
      legend: { show: false },
      padding: [4, 18, isLast ? 0 : 6, 0],
      scales: { x: { time: false }, y: { range: (_, low, high) => [0, Math.max((high ?? 0) * 1.08, state.flux ? 1e-3 : 4)] } },
      axes: [
        { ...axis, show: isLast, size: 20, gap: 2, label: "ms from the first sample", labelSize: 16, labelFont: "11px system-ui", labelGap: 0 },
        { ...axis, size: LEFT - 16, label: axisLabel(photometer), labelSize: 16, labelFont: "bold 11px system-ui", values: (_, ticks) => ticks.map((tick) => number(tick, 4)) },
      ],
      series: [
        {},
        { stroke: photometer.colour, width: 1, points: { show: false }, spanGaps: false },
        { stroke: () => css("--text"), width: 1.5, points: { show: false }, show: true },
      ],
      hooks: {
        drawClear: [shadeFrame],
        draw: [k === 0 ? markPulses : () => {}],
        setScale: [(plot, scale) => { if (scale === "x" && k === 0) drawStrip(); }],
        setCursor: [readCursor],
      },
    };
    const plot = new uPlot(options, [[0], [0], [null]], $("plots"));
    plot.root.setAttribute("role", "img");
    plot.over.addEventListener("wheel", (event) => wheel(plot, event), { passive: false });
    plots.push(plot);
  });
  new ResizeObserver(() => plots.forEach((plot, k) => plot.setSize(plotSize(k)))).observe($("plots"));
}

const axisLabel = ({ band }) => `${band} (${state.flux ? "uW/m²" : "counts"})`;

function plotSize(k) {
  const isLast = k === data.photometers.length - 1;
  const height = Math.max(95, Math.min(190, (window.innerHeight - 430) / 3));
  return { width: Math.max(300, $("plots").clientWidth), height: Math.round(height) + (isLast ? 40 : 0) };
}

async function drawCurves(keepRange = false) {
  const index = state.at;
  const curves = await curvesOf(index);
  if (index !== state.at) return true; // somebody went on meanwhile
  currentCurves = curves;
  const range = [plots[0].scales.x.min, plots[0].scales.x.max];
  for (const [k, plot] of plots.entries()) {
    const rates = curves && (await reconstructedValues(index, curves, k));
    if (index !== state.at) return true;
    plot.setSeries(2, { show: Boolean(rates) });
    plot.setData(curves ? [times(curves.samples), values(curves, k), rates ?? []] : [[0], [null], []], !keepRange);
    plot.root.setAttribute("aria-label", plotInWords(k, curves));
    if (keepRange) plot.setScale("x", { min: range[0], max: range[1] });
  }
  drawStrip();
  return curves !== null;
}

function plotInWords(k, curves) {
  const { band, name } = data.photometers[k];
  if (!curves) return `${band}: no light curve`;
  const { frames } = observations[state.at];
  const peaks = frames[`peak_flux_${name}`];
  const best = peaks.reduce((top, peak, row) => (peak !== null && peak > (peaks[top] ?? -1) ? row : top), 0);
  return `${band}: largest flux ${number(peaks[best])} uW/m2 at ${number(frames[`peak_ms_${name}`][best], 6)} ms`;
}

function setRange(min, max) {
  const end = currentCurves ? currentCurves.samples * MS : 1;
  const width = Math.min(Math.max(max - min, 0.2), end);
  const first = Math.min(Math.max(min, 0), end - width);
  plots.forEach((plot) => plot.setScale("x", { min: first, max: first + width }));
}

const showWhole = () => setRange(0, Infinity);
const showFrame = () => setRange(state.frame * FRAME_MS, (state.frame + 1) * FRAME_MS);

function zoomBy(factor, around) {
  const { min, max } = plots[0].scales.x;
  const centre = around ?? (min + max) / 2;
  setRange(centre - (centre - min) * factor, centre + (max - centre) * factor);
}

function panBy(share) {
  const { min, max } = plots[0].scales.x;
  setRange(min + (max - min) * share, max + (max - min) * share);
}

function wheel(plot, event) {
  event.preventDefault();
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) panBy(Math.sign(event.deltaX || event.deltaY) * 0.1);
  else zoomBy(event.deltaY > 0 ? 1.25 : 0.8, plot.posToVal(event.offsetX, "x"));
}

function shadeFrame(plot) {
  if (state.at < 0) return;
  const [left, right] = [state.frame, state.frame + 1].map((frame) => plot.valToPos(frame * FRAME_MS, "x", true));
  const { left: edge, top, width, height } = plot.bbox;
  const from = Math.max(left, edge);
  const to = Math.min(right, edge + width);
  if (to <= from) return;
  plot.ctx.save();
  plot.ctx.fillStyle = css("--shade");
  plot.ctx.fillRect(from, top, to - from, height);
  plot.ctx.restore();
}

function markPulses(plot) {
  if (state.at < 0) return;
  const { onset_ms, pulse } = observations[state.at].pulses;
  const { min, max } = plot.scales.x;
  const { left, top, width } = plot.bbox;
  const ratio = devicePixelRatio;
  const shown = onset_ms.map((onset, row) => [onset, row]).filter(([onset]) => onset >= min && onset <= max);
  plot.ctx.save();
  plot.ctx.fillStyle = css("--text");
  plot.ctx.font = `${10 * ratio}px system-ui`;
  plot.ctx.textAlign = "center";
  let last = -Infinity;
  for (const [onset, row] of shown) {
    const x = plot.valToPos(onset, "x", true);
    plot.ctx.beginPath();
    plot.ctx.moveTo(x, top + 5 * ratio);
    plot.ctx.lineTo(x - 3 * ratio, top);
    plot.ctx.lineTo(x + 3 * ratio, top);
    plot.ctx.fill();
    if (x - last > 16 * ratio && x < left + width - 8 * ratio) {
      plot.ctx.fillText(String(pulse[row]), x, top + 15 * ratio);
      last = x;
    }
  }
  plot.ctx.restore();
}

function readCursor(plot) {
  const at = plot.cursor.idx;
  if (!currentCurves || at === null || at === undefined || state.at < 0) return void ($("readout").textContent = "");
  const seen = plots.map((one, k) => `${data.photometers[k].band} ${number(one.data[1][at], 4)}`);
  const unit = state.flux ? "uW/m2" : "counts";
  $("readout").textContent = `${(at * MS).toFixed(2)} ms, ${clock(timeOfSample(at))} UTC: ${seen.join(", ")} ${unit}`;
}

function timeOfSample(sample) {
  const start = [0, microseconds(observations[state.at].start_utc)];
  const [first, from] = currentCurves.rows.findLast(([row]) => row <= sample) ?? start;
  return from + (sample - first) * MS * 1000;
}

function drawStrip() {
  if (state.at < 0 || !plots.length || !currentCurves) return $("strip").replaceChildren();
  const { file, frames } = observations[state.at];
  const box = plots[0].bbox;
  const offset = box.left / devicePixelRatio;
  const width = box.width / devicePixelRatio;
  const made = [];
  frames.frame.forEach((frame, row) => {
    const [left, right] = [frame, frame + 1].map((one) => plots[0].valToPos(one * FRAME_MS, "x"));
    if (right <= 0 || left >= width) return;
    const [from, to] = [Math.max(left, 0), Math.min(right, width)];
    const given = labelOf(file, frame);
    const name = frames.gap[row] ? "gap" : frames.class[row] ?? frames.cluster_class[row] ?? "-";
    made.push(element(
      "button",
      {
        title: frameInWords(row),
        attributes: { "aria-pressed": String(frame === state.frame), "aria-label": frameInWords(row), tabindex: "-1" },
        style: { left: `${offset + from}px`, width: `${to - from}px`, "--chip": colourOfClass(name) },
        onclick: () => selectFrame(frame),
      },
      to - from > 26 ? name : "",
      given ? element("span", { className: "given", textContent: `✓${to - from > 40 ? given.class ?? "" : ""}` }) : null,
    ));
  });
  $("strip").replaceChildren(...made);
}

function frameInWords(row) {
  const { frames, file } = observations[state.at];
  const given = labelOf(file, frames.frame[row]);
  const told = frames.gap[row] ? "touches a gap" : `${frames.class[row] ?? "no class"}${frames.probability[row] === null ? "" : ` ${number(frames.probability[row], 2)}`}`;
  return `frame ${frames.frame[row]}: ${told}${given ? `; labelled ${labelInWords(given)}` : ""}`;
}
