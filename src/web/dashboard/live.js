// News of what happens, as a stream that is taken up again where it broke; where the server has none, by asking.

import { address, headers } from "./api.js";

/** Between two looks where there is no stream of news. */
const POLL_MS = 2_000;
/** First pause before the next try; it doubles up to the last. */
const RETRY_MS = 500;
const RETRY_MAX_MS = 10_000;
/** A stream that says nothing for so long, not even that it is alive, is dead. */
const SILENCE_MS = 40_000;

/**
 * Calls `onNews({ type, subject })` for every event, and with the type `all` when anything may have happened.
 * `onState` is told `live`, `polling` or `reconnecting`; `onRefused` that the token is not good.
 */
export function follow({ onNews, onState, onRefused }) {
  let last = "";
  let pause = RETRY_MS;
  let timer;
  let ended = false;
  let reader;

  const later = (work, ms) => {
    timer = setTimeout(work, ms);
  };

  async function connect() {
    const gone = new AbortController();
    let silence;
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(() => gone.abort(), SILENCE_MS);
    };
    reader = gone;
    try {
      heard();
      const more = { accept: "text/event-stream", ...(last ? { "last-event-id": last } : {}) };
      const answer = await fetch(address("v1/events"), { headers: headers(more), signal: gone.signal, cache: "no-store" });
      if (ended) return;
      if (answer.status === 401) return onRefused();
      if (answer.status === 404) return poll();
      if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
      pause = RETRY_MS;
      onState("live");
      // What happened before this stream began, or while there was none, is looked up.
      onNews({ type: "all" });
      await read(answer.body, heard);
      throw new Error("the stream has ended");
    } catch {
      if (ended) return;
      onState("reconnecting");
      later(connect, pause * (0.75 + Math.random() / 2));
      pause = Math.min(pause * 2, RETRY_MAX_MS);
    } finally {
      clearTimeout(silence);
    }
  }

  async function read(body, heard) {
    const texts = body.pipeThrough(new TextDecoderStream()).getReader();
    const parser = parse((event) => {
      if (event.id !== undefined) last = event.id;
      if (event.type === "gap") return onNews({ type: "all" });
      onNews({ type: event.type, subject: subject(event.data) });
    });
    for (;;) {
      const { value, done } = await texts.read();
      if (done || ended) return;
      heard();
      parser(value);
    }
  }

  function poll() {
    onState("polling");
    onNews({ type: "all" });
    later(poll, POLL_MS);
  }

  connect();
  return () => {
    ended = true;
    clearTimeout(timer);
    reader?.abort();
  };
}

/** A reader of `text/event-stream`: takes pieces of text, however they are cut, and calls `onEvent` for each event. */
export function parse(onEvent) {
  let rest = "";
  let event = { data: [] };
  return (text) => {
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (event.data.length) onEvent({ id: event.id, type: event.type ?? "message", data: event.data.join("\n") });
        event = { data: [] };
        continue;
      }
      const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
      if (field === "data") event.data.push(value);
      else if (field === "event") event.type = value;
      else if (field === "id") event.id = value;
    }
  };
}

function subject(data) {
  try {
    return JSON.parse(data).subject;
  } catch {
    return undefined;
  }
}
