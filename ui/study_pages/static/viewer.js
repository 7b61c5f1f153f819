// Three pictures that zoom and pan as one, and the original laid over an edit while a button or key is held.

const MAX_SCALE = 16;

export class Viewer {
  constructor(frames, onChange) {
    this.frames = frames;
    this.onChange = onChange;
    this.pointers = new Map();
    this.images = [];
    this.reset();
    for (const frame of frames) this.listen(frame);
    new ResizeObserver(() => this.apply()).observe(frames[0]);
  }

  // Put decoded pictures into the frames, all at once.
  show(images, width, height) {
    this.images = images;
    this.frames.forEach((frame, place) => {
      frame.style.setProperty("--ratio", width / height);
      const over = document.createElement("canvas");
      over.className = "over";
      over.hidden = true;
      if (place > 0) {
        over.width = width;
        over.height = height;
        over.getContext("2d").drawImage(images[0], 0, 0);
      }
      frame.replaceChildren(images[place], over);
    });
    this.reset();
  }

  flip(place, on) {
    for (const [number, frame] of this.frames.entries()) {
      const over = frame.querySelector(".over");
      if (over && number > 0 && (place === null || place === number)) over.hidden = !on;
    }
  }

  reset() { this.scale = 1; this.x = 0; this.y = 0; this.apply(); }

  oneToOne() {
    const image = this.images[0];
    if (image) this.zoomTo(image.naturalWidth / (this.frames[0].clientWidth * devicePixelRatio));
  }

  zoomBy(factor) { this.zoomTo(this.scale * factor); }

  // Zoom to `scale`, keeping the point (px, py) of a frame, in parts of its size, where it is.
  zoomTo(scale, px = 0.5, py = 0.5) {
    scale = Math.min(MAX_SCALE, Math.max(1, scale));
    this.x = px - (px - this.x) * scale / this.scale;
    this.y = py - (py - this.y) * scale / this.scale;
    this.scale = scale;
    this.apply();
  }

  panBy(dx, dy) { this.x += dx; this.y += dy; this.apply(); }

  apply() {
    this.x = Math.min(0, Math.max(1 - this.scale, this.x));
    this.y = Math.min(0, Math.max(1 - this.scale, this.y));
    for (const frame of this.frames) {
      for (const picture of frame.children) {
        picture.style.transform = `translate(${this.x * frame.clientWidth}px, ${this.y * frame.clientHeight}px) scale(${this.scale})`;
      }
      frame.classList.toggle("zoomed", this.scale > 1);
    }
    this.onChange(this.scale);
  }

  listen(frame) {
    const place = (event) => {
      const box = frame.getBoundingClientRect();
      return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    };
    frame.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomTo(this.scale * Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), ...place(event));
    }, { passive: false });
    frame.addEventListener("dblclick", (event) => (this.scale > 1 ? this.reset() : this.zoomTo(3, ...place(event))));
    frame.addEventListener("pointerdown", (event) => {
      frame.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, place(event));
    });
    frame.addEventListener("pointermove", (event) => {
      const before = this.pointers.get(event.pointerId);
      if (!before) return;
      const now = place(event);
      if (this.pointers.size === 2) {
        const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
        const spread = (point) => Math.hypot((point[0] - other[0]) * frame.clientWidth, (point[1] - other[1]) * frame.clientHeight) || 1;
        this.zoomTo(this.scale * spread(now) / spread(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
      } else {
        this.panBy(now[0] - before[0], now[1] - before[1]);
      }
      this.pointers.set(event.pointerId, now);
    });
    for (const end of ["pointerup", "pointercancel"]) frame.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
  }
}
