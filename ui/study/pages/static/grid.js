// The six rows of scores: three perspectives for each of two edited images. Built once; a change of language only renames.

import { PERSPECTIVES } from "./texts.js";

const PLACES = [0, 1, 2, 3, 4, 5];

export class ScoreGrid {
  // mayScore(): whether scores can be changed now; onScore(): a score was chosen; onRow(row): another row is marked
  constructor(form, { mayScore, onScore, onRow }) {
    Object.assign(this, { form, mayScore, onScore, onRow, row: 0, lacking: new Set(), scores: [[null, null, null], [null, null, null]] });
    form.replaceChildren(...PERSPECTIVES.map(() => element("div", "row-name")), ...[0, 1].map((edit) => this.card(edit)));
    this.rows = [...form.querySelectorAll("fieldset")];
    for (const [row, box] of this.rows.entries()) {
      box.addEventListener("change", (event) => this.set(row, Number(event.target.value)));
      box.addEventListener("focusin", () => this.mark(row, false));
    }
  }

  card(edit) {
    const card = element("div", "card");
    card.dataset.edit = edit + 1;
    card.append(element("h2"));
    for (const place of [0, 1, 2]) {
      const box = document.createElement("fieldset"), legend = document.createElement("legend"), choices = element("div", "choices");
      legend.append(element("span", "of"), element("b"), element("span", "hint"));
      for (let score = 0; score <= 5; score += 1) {
        const input = Object.assign(document.createElement("input"), {
          type: "radio", name: `s${edit}${place}`, id: `s${edit}${place}${score}`, value: String(score) });
        choices.append(input, Object.assign(document.createElement("label"), { htmlFor: input.id, textContent: String(score) }));
      }
      box.dataset.row = place;
      box.append(legend, choices);
      card.append(box);
    }
    return card;
  }

  // Write all words in the language of `t`.
  rename(t) {
    const images = [t("image1"), t("image2")];
    this.form.querySelectorAll("h2").forEach((title, edit) => { title.textContent = images[edit]; });
    this.form.querySelectorAll(".row-name").forEach((box, place) => {
      const hint = element("span", "hint");
      hint.textContent = t(`${PERSPECTIVES[place]}Hint`);
      const name = element("b");
      name.textContent = t(PERSPECTIVES[place]);
      box.replaceChildren(name, " ", hint);
      box.setAttribute("aria-hidden", "true");                  // the legends say it
    });
    for (const [row, box] of this.rows.entries()) {
      const name = PERSPECTIVES[row % 3];
      box.querySelector(".of").textContent = `${images[Math.floor(row / 3)]}: `;
      box.querySelector("b").textContent = t(name);
      box.querySelector(".hint").textContent = ` ${t(`${name}Hint`)}`;
      for (const input of box.querySelectorAll("input")) {
        input.setAttribute("aria-label", `${input.value}: ${t("anchors")[name][input.value]}`);
        input.nextElementSibling.title = t("anchors")[name][input.value];
      }
    }
  }

  // Another screen: its scores (null where nothing is chosen), nothing marked as lacking.
  show(scores) {
    this.scores = scores;
    this.lacking.clear();
    this.row = this.firstMissing();
    this.draw();
  }

  score(row) { return this.scores[Math.floor(row / 3)][row % 3]; }

  get missing() { return PLACES.filter((row) => this.score(row) === null); }

  firstMissing() { return this.missing[0] ?? 0; }

  // Whether Edited Image 1 or 2 has all three scores.
  complete(edit) { return this.scores[edit - 1].every((score) => score !== null); }

  get edit() { return Math.floor(this.row / 3) + 1; }

  set(row, score) {
    if (!this.mayScore()) return this.draw();
    this.scores[Math.floor(row / 3)][row % 3] = score;
    this.lacking.delete(row);
    this.draw();
    this.onScore();
  }

  // Score the marked row and mark the next; false when there is none.
  digit(score) {
    this.set(this.row, score);
    if (this.row === 5) return false;
    this.mark(this.row + 1);
    return true;
  }

  lack(rows) {
    this.lacking = new Set(rows);
    this.draw();
  }

  mark(row, focus = true) {
    this.row = row;
    this.draw();
    this.onRow(row);
    if (focus) (this.rows[row].querySelector("input:checked") || this.rows[row].querySelector("input")).focus({ preventScroll: true });
  }

  draw() {
    for (const [row, box] of this.rows.entries()) {
      const score = this.score(row);
      for (const input of box.querySelectorAll("input")) input.checked = score !== null && Number(input.value) === score;
      box.classList.toggle("marked", row === this.row);
      box.classList.toggle("lacking", this.lacking.has(row));
      box.classList.toggle("scored", score !== null);
    }
  }
}

function element(tag, className = "") {
  return Object.assign(document.createElement(tag), { className });
}
