// One take's connection: the socket, and the next one when it is lost.
//
// Knows sockets and how the wire pairs announcements with bytes; nothing of what messages mean. Invariants: messages of
// an older socket are passed over; each loss ends in another socket or in exactly one `lost`.

import { apiKey, askJson } from "./api.js";
import { Comeback, socketUrl } from "./wire.js";

const SUBPROTOCOL = "longtake.v1";

/**
 * @typedef {{opened: (again: boolean) => void, message: (message: any) => void,
 *   media: (metadata: import("./wire.js").Metadata, bytes: ArrayBuffer) => void, broken: (words: string) => void,
 *   returning: () => void, lost: (reason: string, began: boolean) => void}} Hooks
 */

export class Link {
  comeback = new Comeback();
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {import("./wire.js").Metadata | null} */
  #announced = null;
  #over = false;
  #opened = false;
  #timer = 0;

  /** @param {Hooks} hooks */
  constructor(hooks) {
    this.hooks = hooks;
  }

  /** @param {boolean} again */
  async connect(again = false) {
    const offered = [SUBPROTOCOL];
    if (apiKey() !== "") {
      try {
        // A page cannot send its key along when it opens a socket: it gets a token for this one.
        offered.push((await askJson("v1/tokens", { method: "POST", json: {} })).subprotocol);
      } catch (error) {
        return this.#closed(error instanceof Error ? error.message : "");
      }
    }
    if (this.#over) return;
    const socket = new WebSocket(socketUrl(document.baseURI), offered);
    this.#socket = socket;
    this.#announced = null;
    socket.binaryType = "arraybuffer";
    const mine = (/** @type {() => void} */ act) => { if (socket === this.#socket && !this.#over) act(); };
    socket.onopen = () => mine(() => {
      this.#opened = true;
      this.hooks.opened(again);
    });
    socket.onmessage = (event) => mine(() => this.#receive(event.data));
    socket.onclose = (event) => mine(() => this.#closed(event.reason));
  }

  /** @param {object} message */
  send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  /** Nothing more is heard of it. */
  close() {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#socket?.close(1000);
  }

  get away() {
    return this.comeback.lostAt !== null;
  }

  /** @param {string | ArrayBuffer} data */
  #receive(data) {
    try {
      if (typeof data !== "string") {
        const metadata = this.#announced;
        this.#announced = null;
        if (metadata === null) throw new Error("bytes that nothing announced");
        this.hooks.media(metadata, data);
        return;
      }
      const message = JSON.parse(data);
      if (message.type === "video.chunk_metadata") this.#announced = message;
      else this.hooks.message(message);
    } catch (error) {
      this.hooks.broken(`The server sent something this page cannot read (${/** @type {Error} */ (error).message}).`);
    }
  }

  /** @param {string} reason */
  #closed(reason) {
    if (this.#over) return;
    this.#socket = null;
    const wait = this.comeback.next(performance.now());
    if (wait === null) {
      this.#over = true;
      this.hooks.lost(reason, this.#opened);
      return;
    }
    this.hooks.returning();
    this.#timer = setTimeout(() => this.connect(true), wait);
  }
}
