"""The studio's functions as tools for agents (MCP). A tool call is a call of the page's function in this process, through its door.

Gradio 6.31 calls its own application over HTTP instead, at an address that the first caller's headers name, and fetches any address that
an agent gives for a file.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import gradio as gr
from gradio.route_utils import get_root_url
from gradio.state_holder import SessionState
from PIL import Image

from mre.errors import MreError
from ui.site.door import MARK, Page

if TYPE_CHECKING:
    from ui.studio import Studio

FILE_FORMAT = "a data: URL (data:image/png;base64,...), or what uploading the file to /gradio_api/upload returned"


def answer_agents(studio: Studio, page: Page) -> None:
    """Take over calls of tools."""
    tools = cast(Any, page.mcp_server_obj)          # GradioMCPServer, parts of which are replaced
    tools.convert_strings_to_filedata = _as_files
    tools.get_image = _picture_of(studio)
    simplify = tools.simplify_filedata_schema

    def simplified(schema: dict[str, Any]) -> tuple[dict[str, Any], list[list[str | int]]]:
        schema, places = simplify(schema)
        for place in places:
            schema["properties"][place[0]]["format"] = FILE_FORMAT
        return schema, places
    tools.simplify_filedata_schema = simplified

    @tools.mcp_server.call_tool()
    async def call_tool(name: str, arguments: dict[str, Any]) -> list[Any]:
        request = tools.mcp_server.request_context.request
        _, values, _, function = tools._prepare_tool_call_args(name, arguments)
        session = "agent-" + secrets.token_urlsafe(16)
        try:
            output = await page.process_api(
                function, tools.insert_empty_state(function.inputs, values), state=SessionState(page), session_hash=session,
                request=gr.Request(request, username=studio.access.name(request), session_hash=session))
        except gr.Error as error:
            raise RuntimeError(error.message) from None          # its `str` is in quotation marks
        finally:
            page.forget_session(session)
            studio.uploads.drop_session(session)
        root = get_root_url(request, tools.get_route_path(request), tools.root_path)
        return tools.postprocess_output_data(tools.pop_returned_state(function.outputs, output["data"]), root)


def _as_files(arguments: dict[str, Any], places: list[list[str | int]]) -> dict[str, Any]:
    """The arguments with each text that stands for a file as one of Gradio's; the door says whether it is an upload."""
    files = {str(place[0]) for place in places}

    def file(text: str) -> dict[str, Any]:
        return {"path": None, "url": text, "meta": MARK} if text.startswith("data:") else {"path": text, "meta": MARK}
    return {name: file(value) if name in files and isinstance(value, str) else value for name, value in arguments.items()}


def _picture_of(studio: Studio) -> Any:
    """Lets agents see a result, not only its address: Gradio looks for a file where the address points."""
    def picture(address: str) -> Image.Image | None:
        with suppress(MreError, OSError, IndexError):
            return Image.open(studio.shelf.path(address.split("/pictures/")[1].partition("/")[0]))
        return None
    return picture
