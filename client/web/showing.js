// A take's screen over time: made when the format is known, fed in order, and what it tells.
//
// Knows screens; nothing of messages or sockets. Invariant: whatever is asked of it is done in the order in which it was
// asked, also while the screen is still being made.

import { clock } from "./clock.js";

/** @typedef {import("./screen.js").Screen} Screen */
/** @typedef {import("./painter.js").Fact} Fact */

export class Showing {
  /** @type {Extract<Fact, {type: "facts"}> | null} */
  facts = null;
  shown = -1; // the newest chunk that was on screen
  /** @type {Screen | null} */
  screen = null;
  #ready = Promise.resolve();
  #begun = false;
  #closed = false;

  /**
   * @param {{make: (format: string, tell: (fact: Fact) => void) => Promise<Screen>, failed: (words: string) => void,
   *   seen: (sequence: number, at: number) => void}} hooks
   */
  constructor(hooks) {
    this.hooks = hooks;
  }

  /** @param {string} format */
  open(format) {
    this.#then(async () => {
      const screen = await this.hooks.make(format, (fact) => this.#heard(fact));
      if (this.#closed) screen.close();
      else this.screen = screen;
    });
  }

  /** What is known of the picture; once. @param {object} facts */
  begin(facts) {
    if (this.#begun) return;
    this.#begun = true;
    this.#then(() => this.screen?.begin(facts));
  }

  /** @param {import("./wire.js").Metadata} metadata @param {ArrayBuffer} bytes */
  push(metadata, bytes) {
    this.#then(() => this.screen?.push(metadata, bytes));
  }

  /** @param {number} from @param {number | null} pts */
  takeBack(from, pts) {
    this.#then(() => this.screen?.takeBack(from, pts));
  }

  hold() {
    this.#then(() => this.screen?.hold());
  }

  close() {
    this.#closed = true;
    this.screen?.close();
  }

  /** Seconds of the video that are on screen now. @param {boolean} live */
  position(live) {
    if (this.facts === null) return 0;
    const { position, ahead, at } = this.facts;
    return live ? Math.min(position + ahead, position + (clock() - at) / 1000) : position;
  }

  /** Seconds that are here and not shown yet. */
  ahead() {
    return this.facts === null ? 0 : Math.max(0, this.facts.ahead - (clock() - this.facts.at) / 1000);
  }

  /** @param {() => unknown} act */
  #then(act) {
    this.#ready = this.#ready.then(async () => { await act(); }).catch((error) => {
      this.hooks.failed(`The picture cannot be shown (${error.message}).`);
    });
  }

  /** @param {Fact} fact */
  #heard(fact) {
    if (fact.type === "facts") this.facts = fact;
    else if (fact.type === "fault") this.hooks.failed(fact.message);
    else {
      this.shown = fact.sequence;
      this.hooks.seen(fact.sequence, fact.at);
    }
  }
}
