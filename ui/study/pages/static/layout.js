// Where pictures and scores stand: of several arrangements, the one in which the pictures are largest and nothing needs scrolling.

// [pictures, panel]: the pictures in a row, a square with one place free, a column, or one at a time; the panel of scores and buttons
// under them, beside them, or in the free corner of the square.
const ALL_AT_ONCE = [["row", "under"], ["square", "corner"], ["row", "beside"], ["column", "beside"], ["square", "under"], ["column", "under"]];
const ONE_AT_A_TIME = [["one", "under"], ["one", "beside"]];
const GAIN = 1.1;            // how much larger the pictures must be for an arrangement to go before those named earlier
const LEAST = 0.04;          // of the window's area: a picture smaller than that does not count as shown
const SMALL = matchMedia("(max-width: 699px), (max-height: 499px)");

export class Layout {
  constructor(section, panel, onChange) {
    Object.assign(this, { section, panel, onChange, large: false, mayShowOne: true });
    addEventListener("resize", () => {
      cancelAnimationFrame(this.frame);
      this.frame = requestAnimationFrame(() => { delete section.dataset.tools; this.arrange(); });        // folded again: there may be less room
    });
  }

  get one() { return this.section.dataset.pictures === "one"; }

  // Only the scores of the picture on display are shown.
  get oneCard() { return this.section.dataset.cards === "one"; }

  // `large`: the annotator wishes one picture at a time; `mayShowOne`: the study lets pictures be shown in each other's place.
  arrange() {
    if (this.section.hidden) return;
    const small = SMALL.matches;
    this.section.dataset.cards = small && this.mayShowOne ? "one" : "both";
    this.section.dataset.flips = this.mayShowOne ? "yes" : "no";
    delete this.section.dataset.scrolls;
    const chosen = (this.mayShowOne && (small || this.large) && this.best(ONE_AT_A_TIME)) || (!small && this.best(ALL_AT_ONCE));
    if (chosen) this.set(chosen);
    else this.scroll();
    this.onChange();
  }

  best(candidates) {
    let chosen = null, area = 0;
    for (const candidate of candidates) {
      this.set(candidate);
      const found = this.fits() ? this.area() : 0;
      if (found > Math.max(LEAST * innerWidth * innerHeight, area * GAIN)) [chosen, area] = [candidate, found];
    }
    return chosen;
  }

  // Nothing fits: the pictures stay in sight, and the scores scroll under them.
  scroll() {
    this.section.dataset.scrolls = "";
    if (this.mayShowOne) this.section.dataset.cards = "one";
    this.set(this.mayShowOne ? ONE_AT_A_TIME[0] : ["square", "under"]);
  }

  set([pictures, panel]) { Object.assign(this.section.dataset, { pictures, panel }); }

  area() {
    const frame = [...this.section.querySelectorAll(".frame")].find((node) => node.clientWidth > 0);
    return frame ? frame.clientWidth * frame.clientHeight : 0;
  }

  fits() {
    return [this.section, this.panel, ...this.panel.querySelectorAll(".choices")].every((box) =>
      box.scrollHeight <= box.clientHeight + 1 && box.scrollWidth <= box.clientWidth + 1);
  }
}
