// A picture dropped anywhere on the Edit tab, or pasted, is the photo; a PNG that was made here fills the form with its recipe instead.
window.mreDrop = (() => {
  let photo = null, recipe = null;
  const $ = (selector) => document.querySelector(selector);
  const here = () => $("#edit")?.offsetParent != null;
  const mark = Object.assign(document.createElement("i"), { className: "uploading", hidden: true });     // holds Run, see uploads.js
  const fits = (file) => file && (file.type.startsWith("image/") || /\.(png|jpe?g|webp|gif|bmp|tiff?)$/i.test(file.name));

  async function hasRecipe(file) {             // a chunk of a PNG named iTXt that begins with "mre"
    const start = new Uint8Array(await file.slice(0, 1_000_000).arrayBuffer());
    const wanted = [0x69, 0x54, 0x58, 0x74, 0x6d, 0x72, 0x65, 0];
    for (let at = 8; at < start.length - 8; at += 1) if (wanted.every((byte, index) => start[at + index] === byte)) return true;
    return false;
  }
  async function take(file) {
    $("#edit").append(mark);
    try {
      const isRecipe = await hasRecipe(file);
      const body = new FormData();
      body.append("files", file, file.name || "pasted.png");
      const answer = await fetch(new URL("gradio_api/upload", document.baseURI), { method: "POST", body });
      if (!answer.ok) throw new Error(await answer.text());
      const [path] = await answer.json();
      const value = { path, url: new URL(`gradio_api/file=${path}`, document.baseURI).href, orig_name: file.name || "pasted.png", size: file.size,
                      meta: { _type: "gradio.FileData" } };
      if (isRecipe) { recipe = value; $("#recipe-arrived").click(); }
      else { photo = value; window.mreRegion.show(null); $("#file-arrived").click(); }
    } catch (error) {
      const line = Object.assign(document.createElement("p"), { className: "notice bad", textContent: error.message });
      $("#progress .prose, #progress .html-container, #progress")?.replaceChildren(line);
    } finally { mark.remove(); }
  }
  const files = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
  const other = (event) => event.target.closest?.("#recipe-file");
  for (const kind of ["dragenter", "dragover"]) document.addEventListener(kind, (event) => { if (files(event) && here() && !other(event)) event.preventDefault(); });
  document.addEventListener("drop", (event) => {
    if (!files(event) || !here() || other(event)) return;
    const file = [...event.dataTransfer.files].find(fits);
    event.preventDefault();                    // else the browser leaves the page for the file
    if (!file) return;
    event.stopPropagation();
    take(file);
  }, true);
  document.addEventListener("paste", (event) => {
    const file = here() && [...(event.clipboardData?.files || [])].find(fits);
    if (!file) return;
    event.preventDefault();
    event.stopPropagation();
    take(file);
  }, true);
  return { photo: () => [photo, null], recipe: () => recipe };
})();
