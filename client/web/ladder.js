// Which pictures a link can carry: the format to begin with, and how fine they are while it goes.
//
// Knows figures only. Invariants: one step at a time, down at once and up slowly; a machine that makes the video slowly
// is no reason to step, only media that is sent and does not arrive.

export const STEPS = [85, 70, 55, 40, 25];
const LATE = 1.2; // seconds of media on the way that a link in order does not have
export const CALM = 15; // looks without trouble before a step up

export class Ladder {
  #step = 0;
  #calm = 0;
  #late = 0;

  get quality() {
    return STEPS[this.#step];
  }

  /** At its lowest and still late: the next take is better sent as film. */
  get narrow() {
    return this.#step === STEPS.length - 1;
  }

  /**
   * A look, about once a second; the new quality where it changes, else null.
   * @param {{lead: number, ahead: number}} seconds what the server sent ahead of the picture, and what is here of it
   */
  look({ lead, ahead }) {
    const late = lead - ahead > LATE;
    this.#late = late ? this.#late + 1 : 0;
    this.#calm = late ? 0 : this.#calm + 1;
    if (this.#late >= 2 && this.#step < STEPS.length - 1) {
      this.#late = 0;
      this.#step += 1;
      return this.quality;
    }
    if (this.#calm >= CALM && this.#step > 0) {
      this.#calm = 0;
      this.#step -= 1;
      return this.quality;
    }
    return null;
  }
}

/**
 * The format to begin with.
 * @param {{choice: string, film: boolean, narrow: boolean, saveData: boolean, megabits: number | null, pixels: number}}
 *   facts `film`: this browser plays it; `narrow`: an earlier take found the link too slow
 */
export function chooseFormat({ choice, film, narrow, saveData, megabits, pixels }) {
  if (choice === "m4s") return film ? "m4s" : "jpeg";
  if (choice !== "auto") return choice;
  const needed = (pixels * 16 * 1.6) / 1e6; // of JPEG, at 16 frames a second and 1.6 bits a pixel
  const tight = narrow || saveData || (megabits !== null && megabits > 0 && megabits < 2 * needed);
  return tight && film ? "m4s" : "jpeg";
}
