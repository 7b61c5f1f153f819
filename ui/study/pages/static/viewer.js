// Three pictures that zoom and pan as one. Each edit's frame also holds the original and the other edit, to be shown in its place.

const MAX_SCALE = 16;
const SHARP = 4;             // screen pixels per picture pixel from which a zoomed picture is shown in squares instead of smoothed
const SWIPE = 50;            // pixels sideways that turn a stroke into a swipe
const LAYERS = [[0], [1, 0, 2], [2, 0, 1]];                     // which pictures each frame holds; its own comes first

// Decoded <img> elements for every layer of every frame; `source` gives the address of a picture by its place.
export async function decodedLayers(source, withOthers) {
  return Promise.all(LAYERS.map((places) => Promise.all((withOthers ? places : places.slice(0, 1)).map(async (place) => {
    const image = new Image();
    image.src = source(place);
    image.draggable = false;
    image.dataset.picture = place;
    await image.decode();
    return image;
  }))));
}

export class Viewer {
  // onZoom(scale), onShow(frame, picture): a frame now shows the picture with that place; onSwipe(+1 or -1)
  constructor(frames, { onZoom, onShow, onSwipe }) {
    Object.assign(this, { frames, onZoom, onShow, onSwipe, keep: false, layers: [], width: 1 });
    this.fit();
    for (const frame of frames) this.listen(frame);
    new ResizeObserver(() => this.apply()).observe(frames[0]);
  }

  // Put decoded pictures (layers as `decodedLayers` gives them) into the frames, all at once.
  show(layers, width, height) {
    this.layers = layers;
    this.width = width;
    this.frames.forEach((frame, place) => {
      frame.parentElement.style.setProperty("--ratio", width / height);
      frame.replaceChildren(...layers[place]);
    });
    this.release();
    if (this.keep) this.apply(); else this.fit();
  }

  // Show in frames 1 and 2 (or `only` one of them) the original in place of the edit.
  original(only = null) { for (const place of [1, 2]) if (only === null || only === place) this.lay(place, 0); }

  // Show each edit in the other's frame.
  exchange() { this.lay(1, 2); this.lay(2, 1); }

  // Every frame shows its own picture again.
  release() { for (const place of [0, 1, 2]) this.lay(place, place); }

  lay(place, picture) {
    const layers = this.layers[place] || [];
    if (!layers.some((image) => Number(image.dataset.picture) === picture)) return;
    for (const image of layers) image.classList.toggle("on", Number(image.dataset.picture) === picture);
    this.onShow(place, picture);
  }

  get shownFrame() { return this.frames.find((frame) => frame.clientWidth) || this.frames[0]; }

  // Scale at which one picture pixel is one pixel of the screen.
  get naturalScale() { return this.width / ((this.shownFrame.clientWidth || this.width) * devicePixelRatio); }

  fit() { this.scale = 1; this.x = 0; this.y = 0; this.apply(); }

  oneToOne() { this.zoomTo(this.naturalScale); }

  zoomBy(factor) { this.zoomTo(this.scale * factor); }

  // Zoom to `scale` (1: the picture fills its frame), keeping the point (px, py) of a frame, in parts of its size, where it is.
  zoomTo(scale, px = 0.5, py = 0.5) {
    scale = Math.min(Math.max(MAX_SCALE, this.naturalScale), Math.max(Math.min(1, this.naturalScale), scale));
    this.x = px - (px - this.x) * scale / this.scale;
    this.y = py - (py - this.y) * scale / this.scale;
    this.scale = scale;
    this.apply();
  }

  panBy(dx, dy) { this.x += dx; this.y += dy; this.apply(); }

  apply() {
    const inside = (offset) => (this.scale < 1 ? (1 - this.scale) / 2 : Math.min(0, Math.max(1 - this.scale, offset)));
    this.x = inside(this.x);
    this.y = inside(this.y);
    const sharp = this.scale > 1 && this.scale / this.naturalScale >= SHARP;
    for (const frame of this.frames) {
      for (const picture of frame.children) {
        picture.style.transform = `translate(${this.x * 100}%, ${this.y * 100}%) scale(${this.scale})`;
      }
      frame.classList.toggle("zoomed", this.scale > 1);
      frame.classList.toggle("sharp", sharp);
    }
    this.onZoom(this.scale);
  }

  listen(frame) {
    const pointers = new Map();
    let stroke = null;                                          // where a single finger or button began, in pixels
    const place = (event) => {
      const box = frame.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    };
    frame.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomTo(this.scale * Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), ...place(event));
    }, { passive: false });
    frame.addEventListener("dblclick", (event) => (this.scale === 1 ? this.zoomTo(3, ...place(event)) : this.fit()));
    frame.addEventListener("pointerdown", (event) => {
      frame.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, place(event));
      stroke = pointers.size === 1 && this.scale <= 1 ? [event.clientX, event.clientY] : null;
    });
    frame.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before) return;
      const now = place(event);
      if (pointers.size === 2) {
        const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
        const spread = (point) => Math.hypot((point[0] - other[0]) * frame.clientWidth, (point[1] - other[1]) * frame.clientHeight) || 1;
        this.zoomTo(this.scale * spread(now) / spread(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      } else {
        this.panBy(now[0] - before[0], now[1] - before[1]);
      }
      pointers.set(event.pointerId, now);
    });
    frame.addEventListener("pointerup", (event) => {
      const [dx, dy] = stroke ? [event.clientX - stroke[0], event.clientY - stroke[1]] : [0, 0];
      if (Math.abs(dx) > SWIPE && Math.abs(dx) > 2 * Math.abs(dy)) this.onSwipe(dx < 0 ? 1 : -1);
    });
    for (const end of ["pointerup", "pointercancel"]) frame.addEventListener(end, (event) => { pointers.delete(event.pointerId); stroke = null; });
  }
}
