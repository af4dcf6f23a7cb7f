"use strict";
// Light curves and reconstructions, unpacked as they are needed; reviewing/curves.py packs them.

const CURVES_KEPT = 12;
const unpacked = new Map(); // promises of curves, by index of the observation, the last used last

async function inflate(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let at = 0; at < letters.length; at++) bytes[at] = letters.charCodeAt(at);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

function curvesOf(index) {
  const known = unpacked.get(index) ?? readCurves(index);
  unpacked.delete(index);
  unpacked.set(index, known);
  for (const other of unpacked.keys()) if (unpacked.size > CURVES_KEPT) unpacked.delete(other);
  return known;
}

async function readCurves(index) {
  const packed = observations[index].curves ?? JSON.parse($(`curves-${index}`)?.textContent ?? "null");
  if (!packed) return null;
  const buffer = await inflate(packed.counts);
  const all = packed.bytes === 1 ? new Uint8Array(buffer) : new Uint16Array(buffer);
  const counts = data.photometers.map((_, k) => all.subarray(k * packed.samples, (k + 1) * packed.samples));
  const rows = packed.rows.map(([sample, time]) => [sample, microseconds(time)]);
  return { ...packed, all: counts, rows, reconstructed: null };
}

let axis = new Float64Array(0); // ms of samples, of the longest observation so far

function times(samples) {
  if (axis.length < samples) axis = Float64Array.from({ length: samples }, (_, sample) => sample * MS);
  return axis.subarray(0, samples);
}

// L = q n / (1 - tau n)
const toFlux = (curves, k, n) => (curves.flux_per_count[k] * n) / (1 - curves.dead_time[k] * n);

function values(curves, k) {
  const counts = curves.all[k];
  const shown = state.flux ? Float64Array.from(counts, (n) => toFlux(curves, k, n)) : counts;
  if (!curves.gaps[k].length) return shown;
  const broken = Array.from(shown); // typed arrays hold no null, which is a gap
  for (const [first, end] of curves.gaps[k]) broken.fill(null, first, end);
  return broken;
}

async function reconstruction(index, curves) {
  if (curves.reconstructed || !curves.rates) return curves.reconstructed;
  const { bin, steps, lowest } = data.rates;
  const codes = new Int16Array(await inflate(curves.rates));
  const bins = data.frame_samples / bin;
  const { frame, gap } = observations[index].frames;
  const judged = frame.filter((_, row) => !gap[row]);
  const rates = data.photometers.map(() => new Array(curves.samples).fill(null));
  judged.forEach((number, row) => rates.forEach((rate, k) => {
    let code = 0;
    for (let at = 0; at < bins; at++) {
      code += codes[(row * rates.length + k) * bins + at];
      const value = code > 0 ? 2 ** (code / steps - lowest) : 0;
      rate.fill(value, number * data.frame_samples + at * bin, number * data.frame_samples + (at + 1) * bin);
    }
  }));
  curves.reconstructed = rates;
  return rates;
}

async function reconstructedValues(index, curves, k) {
  const rates = state.overlay ? await reconstruction(index, curves) : null;
  if (!rates) return null;
  return state.flux ? rates[k].map((n) => (n === null ? null : toFlux(curves, k, n))) : rates[k];
}
