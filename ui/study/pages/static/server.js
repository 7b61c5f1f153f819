// Calls of the study's server.

const RETRY_MS = [1000, 2000, 4000, 8000];

export class Refused extends Error {
  constructor(code, message, status) { super(message); this.code = code; this.status = status; }      // status 0: no connection
}

export function wait(attempt) { return new Promise((resolve) => setTimeout(resolve, RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)])); }

// One call. `words`: what to say where the server said nothing, and its own sentences in the annotator's language.
export async function call(action, body, words, keepalive = false) {
  let reply;
  try {
    reply = await fetch(`/study/api/${action}`, { method: "POST", headers: { "Content-Type": "application/json", "X-Study": "1" },
      body: JSON.stringify(body), keepalive });
  } catch { throw new Refused("offline", words.offline, 0); }
  let data = null;
  try { data = await reply.json(); } catch { /* a proxy's page, or a cut reply */ }
  if (!reply.ok || data === null) throw new Refused(data?.code || "busy", data?.error ? words.said(data.error) : words.offline, data ? reply.status : 503);
  return data;
}

// Try until the server has an answer: a broken line, a restart or a full disk costs time, never scores.
export async function surely(attemptOnce, onRetry, onEnd) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      const data = await attemptOnce();
      if (attempt) onEnd();
      return data;
    } catch (error) {
      if (error.status !== 0 && error.status < 500) throw error;
      onRetry(error);
      await wait(attempt);
    }
  }
}

// A picture's bytes as an address that any number of <img> elements can show; to be revoked when they are done.
export async function pictureAddress(path) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      const reply = await fetch(path);
      if (!reply.ok) throw new Refused("picture", `${reply.status}`, reply.status);
      return URL.createObjectURL(new Blob([await reply.arrayBuffer()], { type: "image/png" }));
    } catch (error) {
      if (attempt === 3 || error.status === 403) throw error;
      await wait(attempt);
    }
  }
}

export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
