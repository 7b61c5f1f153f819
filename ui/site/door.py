"""The one door between Gradio and the studio's functions: no function sees a file that its session has not uploaded, or runs for
somebody who lacks its role. All that replaces a part of Gradio's page or components is here, written for Gradio 6.31; its routes are in
`ui.site.gate`, its tools for agents in `ui.site.agents`.

Gradio 6.31 asks whether an input file was uploaded only when `Blocks.launch` was called; a page that is mounted on an application, as
ours is, is never asked (`processing_utils._check_allowed`). Here every call of every function passes `Page.process_api`, by whatever
route it came (direct, queue, agents), and whatever names a file in it is looked up among the session's uploads before Gradio sees it.
On the way out, files are named by their tokens; a file that is no upload does not leave.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

import anyio
import gradio as gr
from gradio.context import Context
from gradio.data_classes import FileData, ImageData

from ui.site.uploads import Caller, NotUploaded, Upload, Uploads, UploadTooLarge, file_address
from ui.texts import add_texts, language_of, say

DEEPEST = 32
NOBODY = Caller()
MARK = {"_type": "gradio.FileData"}
TEXTS = {
    "not_uploaded": ("This file was not uploaded in this session, or is not kept any more: please choose it again.",
                     "此文件不是在本次会话中上传的，或已不再保留：请重新选择。"),
    "not_your_session": ("This session belongs to another browser; please reload the page.", "此会话属于另一个浏览器，请刷新页面。"),
    "for_researchers": ("This is for researchers; please sign in with a researcher's account.",
                        "此功能仅供研究者使用，请用研究者账号登录。"),
}
add_texts(TEXTS)
_caller: ContextVar[Caller] = ContextVar("caller")


def this_page() -> Page:
    """The page that is being built."""
    page = Context.root_block
    assert isinstance(page, Page), "asked for inside a page"
    return page


def this_tab() -> gr.Tab:
    """The tab that is being built."""
    tab = Context.block
    assert isinstance(tab, gr.Tab), "asked for inside a tab"
    return tab


class Page(gr.Blocks):
    """Gradio's page, whose functions get files of their own session only, and run for those alone who have the role."""

    def __init__(self, studio: Any, **options: Any) -> None:
        super().__init__(**options)
        self._studio = studio
        self._roles: dict[int, str] = {}         # what functions need, by number; the others are open to all who may see the page

    @contextmanager
    def functions_for(self, role: str) -> Iterator[None]:
        """The functions added inside are for those who have this role. Gradio runs any function whose number is known, listed or not."""
        before = set(self.fns)
        yield
        self._roles |= dict.fromkeys(set(self.fns) - before, role)

    def open(self) -> None:
        """Say that the page is served: Gradio 6.31 says so in `launch`, and asks whether files were uploaded only of such a page."""
        self.has_launched = self.is_running = True

    def forget_session(self, session: str | None) -> None:
        """Drop what Gradio 6.31 keeps of a session that is over, half a megabyte, and would keep for good; what its states own goes too."""
        kept = self.state_holder.session_data.pop(session or "", None)
        self.state_holder.time_last_used.pop(session or "", None)
        for state, value, _ in list(kept.state_components) if kept else ():
            state.delete_callback(value)

    async def process_api(self, block_fn: Any, inputs: list[Any], state: Any = None, request: Any = None, **options: Any) -> dict[str, Any]:
        asking: Any = request[0] if isinstance(request, list) and request else request
        caller = self._studio.caller(asking)
        if not self._studio.uploads.holds_session(caller):
            raise gr.Error(say("not_your_session", language_of(asking)), print_exception=False)
        number = block_fn if isinstance(block_fn, int) else block_fn._id
        if not self._studio.access.shows(self._roles.get(number, "visitor"), self._studio.access.role(asking)):
            raise gr.Error(say("for_researchers", language_of(asking)), print_exception=False)
        before = _caller.set(caller)
        try:
            return await super().process_api(block_fn, inputs, state=state, request=request, **options)
        except NotUploaded:
            raise gr.Error(say("not_uploaded", language_of(asking)), print_exception=False) from None
        except UploadTooLarge as error:
            raise gr.Error(str(error), print_exception=False) from None
        finally:
            _caller.reset(before)

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], state: Any, explicit_call: bool = False) -> list[Any]:
        if block_fn.api_visibility == "public":                  # a program of before fields were added at the end
            inputs = [*inputs, *(block.value for block in block_fn.inputs[len(inputs):])]
        for block in block_fn.inputs:            # Gradio makes a field anew for a session whose field is updated, or skipped
            if "preprocess" in vars(block) and block._id in (state or ()):
                state[block._id].preprocess = block.preprocess
        if any(isinstance(value, dict | list) for value in inputs) or any(takes_files(block) for block in block_fn.inputs):
            inputs = await anyio.to_thread.run_sync(self._admit_all, list(block_fn.inputs), list(inputs))
        return await super().preprocess_data(block_fn, inputs, state, explicit_call)

    async def postprocess_data(self, block_fn: Any, predictions: Any, state: Any) -> list[Any]:
        return [_named(value, self._studio.uploads) for value in await super().postprocess_data(block_fn, predictions, state)]

    def _admit_all(self, blocks: list[Any], values: list[Any]) -> list[Any]:
        caller = _caller.get(NOBODY)
        blocks += [None] * (len(values) - len(blocks))
        return [admit(value, self._studio.uploads, caller, takes_files(block)) for value, block in zip(values, blocks, strict=False)]


def admit(value: Any, uploads: Uploads, caller: Caller, files: bool, depth: int = 0) -> Any:
    """The value with each file in it as the one of the caller's uploads that it names, and nothing else of what was said of it.
    `files`: whether it is for a component that takes files. Raises NotUploaded, UploadTooLarge."""
    if depth > DEEPEST:
        raise NotUploaded
    if isinstance(value, list):
        return [admit(item, uploads, caller, files, depth + 1) for item in value]
    if isinstance(value, dict):
        if {"path", "url"} & value.keys():
            return _uploaded(value, uploads, caller, files)
        return {key: item if item is None or isinstance(item, str | int | float) else admit(item, uploads, caller, files, depth + 1)
                for key, item in value.items()}
    if files and value is not None:
        raise NotUploaded                        # a file is a dictionary; a bare name is none
    return value


def _uploaded(value: dict, uploads: Uploads, caller: Caller, files: bool) -> dict[str, Any]:
    path, url, name = value.get("path"), value.get("url"), value.get("orig_name")
    if not files:
        raise NotUploaded
    if not path and isinstance(url, str) and url.startswith("data:"):
        upload = uploads.take_data(url, name if isinstance(name, str) else None, caller)
    else:
        upload = uploads.find(path, caller)
    return {"path": str(upload.file), "url": None, "size": upload.size, "orig_name": upload.file.name, "mime_type": None,
            "is_stream": False, "meta": MARK}


def _named(value: Any, uploads: Uploads) -> Any:
    """The value with each file in it by its token and address, as a browser may know it."""
    if isinstance(value, list | tuple):
        return [_named(item, uploads) for item in value]
    if isinstance(value, FileData):
        value = value.model_dump()
    if not isinstance(value, dict):
        return value
    if not (isinstance(value.get("path"), str) and "meta" in value):
        return {key: _named(item, uploads) for key, item in value.items()}
    if value.get("is_stream") and value["path"] == value.get("url"):
        return value                             # an address of ours, not a file (`address_field`)
    if (upload := uploads.at(value["path"])) is None:
        raise RuntimeError(f"{value['path']} is no upload; a function that returns a file returns `Uploads.put(...).file`")
    return value | {"path": upload.address, "url": file_address(upload), "orig_name": upload.file.name}


def takes_files(block: Any) -> bool:
    """Whether a component's value is, or holds, files."""
    model = getattr(block, "data_model", None)
    return model is not None and _holds_files(model)


@functools.cache
def _holds_files(model: type) -> bool:
    return "gradio.FileData" in str(model.model_json_schema())


# ------------------------------------------------------------------------------------------------------------------ components

# Gradio has no setting for how a component reads its value, and writes a `.pyi` file beside every module that derives one from its own.

def photo_field(**options: Any) -> gr.Image:
    """An image field whose handlers get the path of the file as it was sent, for `mre.imaging.open_image` to read: Gradio would decode
    it, however large, and hand on a file of its own without the recipe inside."""
    field = gr.Image(type="filepath", format="png", image_mode=None, **options)
    field.preprocess = _path_as_sent
    return field


def _path_as_sent(payload: ImageData | None) -> str | None:
    """Where the upload lies: `admit` has looked up whose it is."""
    return payload.path if payload else None


def score_slider(**options: Any) -> gr.Slider:
    """A slider, its value unchecked: Gradio's own message names no field. It is checked where all settings are, by name."""
    slider = gr.Slider(**options)
    slider.preprocess = lambda payload: payload
    return slider


def address_field(**options: Any) -> gr.File:
    """A file field that shows the address of a picture on the shelf, and not a file that Gradio would copy and whose place on the server
    it would tell. Told that the address is a stream, Gradio passes it on as it is, and its clients fetch it as it is."""
    field = gr.File(**options)
    cast(Any, field).postprocess = lambda address: address and FileData(path=address, orig_name="edited.png", is_stream=True)
    return field


def keep_as_input(studio: Any, data: bytes, name: str, request: gr.Request | None) -> str:
    """Make bytes of the studio (a result, an example) a file of the session that asks, to be shown in a file field. Returns its path."""
    upload: Upload = studio.uploads.put(data, name, studio.caller(request))
    return str(upload.file)
