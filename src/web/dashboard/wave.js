// A recording of ours: its shape, drawn from the file itself, and its sound.

import { fetchFile, path } from "./api.js";
import { h } from "./dom.js";
import { button } from "./parts.js";
import { length } from "./words.js";

/** Larger files are fetched when somebody asks for them. */
const UNASKED_BYTES_MAX = 4_000_000;
/** One column of the drawing a bar and a gap. */
const BAR = 3;
const HEIGHT = 56;

/** Recordings of one call; each is fetched once, and forgotten when the page is left. */
export function recordings(sid, redraw) {
  const files = new Map();

  function load(recording) {
    const file = { state: "loading" };
    files.set(recording.file, file);
    fetchFile(path`v1/calls/${sid}/recordings/${recording.file}`)
      .then((answer) => answer.arrayBuffer())
      .then((bytes) => {
        const sound = readWav(bytes);
        Object.assign(file, { state: "ready", sound, url: URL.createObjectURL(new Blob([bytes], { type: "audio/wav" })) });
      })
      .catch((error) => Object.assign(file, { state: "failed", why: error.message }))
      .finally(redraw);
    return file;
  }

  function one(recording) {
    if (recording.source !== "stream") {
      return h("li.recording", { key: recording.sid }, h("div", {}, `Recorded by the network, ${recording.seconds} s`), h("code.small", {}, recording.sid));
    }
    let file = files.get(recording.file);
    if (!file && recording.bytes <= UNASKED_BYTES_MAX && recording.bytes > 0) file = load(recording);
    const title = h("div.about", {}, h("span", {}, length(recording.seconds * 1000)), h("code.small", {}, recording.file),
      recording.gaps?.length > 0 && h("span.small", {}, `${recording.gaps.length} ${recording.gaps.length === 1 ? "gap" : "gaps"} while the stream was down`));
    return h("li.recording", { key: recording.file, "data-file": recording.file, "data-state": file?.state ?? "waiting" }, title, body(recording, file));
  }

  function body(recording, file) {
    if (!file) {
      if (!recording.bytes) return h("p.small", {}, "Nothing of it was written.");
      return button(`Load ${(recording.bytes / 1e6).toFixed(1)} MB`, () => { load(recording); redraw(); });
    }
    if (file.state === "loading") return h("div.wave", {}, h("span.small", {}, "Loading…"));
    if (file.state === "failed") return h("p.bad.small", {}, file.why);
    return [
      h("canvas.wave", { height: HEIGHT, "aria-hidden": "true", created: (node) => watchSize(node, file), on: { click: (event) => seek(event, recording.file) } }),
      h("audio", { controls: true, preload: "metadata", src: file.url, "aria-label": `Recording ${recording.file}`, on: { timeupdate: (event) => mark(event.target) } }),
    ];
  }

  return {
    view: (list) => h("ul.recordings", {}, list.map(one)),
    leave: () => files.forEach((file) => file.url && URL.revokeObjectURL(file.url)),
  };
}

function seek(event, name) {
  const audio = event.target.closest(".recording").querySelector("audio");
  const share = event.offsetX / event.target.clientWidth;
  if (Number.isFinite(audio.duration)) audio.currentTime = share * audio.duration;
  audio.play().catch(() => {});
  return name;
}

function mark(audio) {
  const canvas = audio.closest(".recording").querySelector("canvas");
  canvas.played = audio.duration ? audio.currentTime / audio.duration : 0;
  canvas.paint?.();
}

function watchSize(canvas, file) {
  canvas.played = 0;
  canvas.paint = () => paint(canvas, file.sound);
  new ResizeObserver(canvas.paint).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", canvas.paint);
}

/** One row of bars a channel: the caller above the line, ours below it; of one channel both halves. */
function paint(canvas, sound) {
  const scale = devicePixelRatio || 1;
  const width = canvas.clientWidth;
  if (!width) return;
  canvas.width = width * scale;
  canvas.height = HEIGHT * scale;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const style = getComputedStyle(canvas);
  const [played, ahead] = [style.getPropertyValue("--accent"), style.getPropertyValue("--line-strong")];
  const columns = Math.floor(width / BAR);
  const upper = peaks(sound.channels[0], columns);
  const lower = sound.channels[1] ? peaks(sound.channels[1], columns) : upper;
  const middle = HEIGHT / 2;
  for (let at = 0; at < columns; at += 1) {
    pen.fillStyle = at / columns < canvas.played ? played : ahead;
    const up = Math.max(1, upper[at] * (middle - 2));
    const down = Math.max(1, lower[at] * (middle - 2));
    pen.fillRect(at * BAR, middle - up, BAR - 1, up + down);
  }
}

/** The loudest of each piece, from 0 to 1; quiet speech is lifted so that it can be seen. */
export function peaks(samples, columns) {
  const made = new Float32Array(columns);
  const piece = samples.length / columns;
  for (let at = 0; at < columns; at += 1) {
    let loudest = 0;
    for (let index = Math.floor(at * piece); index < (at + 1) * piece && index < samples.length; index += 1) {
      const value = Math.abs(samples[index]);
      if (value > loudest) loudest = value;
    }
    made[at] = Math.sqrt(loudest / 32768);
  }
  return made;
}

/** `{ rate, channels: [Int16Array] }` of a WAV file of 16 bits, as ours are. */
export function readWav(bytes) {
  const view = new DataView(bytes);
  const word = (at) => String.fromCharCode(...new Uint8Array(bytes, at, 4));
  if (bytes.byteLength < 12 || word(0) !== "RIFF" || word(8) !== "WAVE") throw new Error("this is no WAV file");
  let format = null;
  for (let at = 12; at + 8 <= bytes.byteLength;) {
    const size = Math.min(view.getUint32(at + 4, true), bytes.byteLength - at - 8);
    if (word(at) === "fmt " && size >= 16) {
      format = { kind: view.getUint16(at + 8, true), channels: view.getUint16(at + 10, true), rate: view.getUint32(at + 12, true), bits: view.getUint16(at + 22, true) };
    } else if (word(at) === "data") {
      if (!format || format.kind !== 1 || format.bits !== 16 || format.channels < 1) throw new Error("expected 16-bit samples");
      const frames = Math.floor(size / 2 / format.channels);
      const channels = Array.from({ length: format.channels }, () => new Int16Array(frames));
      for (let frame = 0, place = at + 8; frame < frames; frame += 1) {
        for (const channel of channels) {
          channel[frame] = view.getInt16(place, true);
          place += 2;
        }
      }
      return { rate: format.rate, channels };
    }
    at += 8 + size + (size % 2);
  }
  throw new Error("the file has no samples");
}
