// What is filled in and not sent yet goes to the server soon after each change, one call at a time, the newest last.

const AFTER_MS = 250;
const AGAIN_MS = 4000;

export class Drafts {
  // send(body, keepalive): a promise; its refusal has a `status`, 0 or 500 and more where trying again may help
  constructor(send) {
    Object.assign(this, { send, waiting: null, running: null });
    addEventListener("pagehide", () => { if (this.waiting) { this.send(this.waiting, true).catch(() => {}); this.waiting = null; } });
    addEventListener("online", () => this.flush());
  }

  note(body) {
    this.waiting = body;
    this.wait(AFTER_MS);
  }

  // Nothing more is to be kept: the answer itself is on its way.
  drop() {
    this.waiting = null;
    clearTimeout(this.timer);
  }

  wait(ms) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush(), ms);
  }

  // Send what waits, and resolve when nothing is under way any more.
  async flush() {
    clearTimeout(this.timer);
    await this.running;
    const body = this.waiting;
    if (!body) return;
    this.waiting = null;
    this.running = this.send(body, false).catch((error) => {
      if (error.status !== 0 && error.status < 500) return;
      this.waiting ??= body;
      this.wait(AGAIN_MS);
    });
    await this.running;
  }
}
