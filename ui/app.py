"""The whole web application: the tabs in one page, the studio's own routes beside them."""

from __future__ import annotations

import gradio as gr
from fastapi import FastAPI

from ui.studio import Studio, StudioSettings

TABS: tuple = ()     # modules with `title`, `build(studio)` and, where they have own routes, `add_routes(app, studio)`


def build_app(settings: StudioSettings | None = None) -> FastAPI:
    """A FastAPI application with the page at `/` and the tabs' own routes beside it. Loads no model."""
    studio = Studio(settings or StudioSettings())
    with gr.Blocks(title="MRE Studio", analytics_enabled=False) as page:
        for tab in TABS:
            with gr.Tab(tab.title):
                tab.build(studio)
    app = FastAPI(title="MRE Studio", docs_url=None, redoc_url=None)
    for tab in TABS:
        if add_routes := getattr(tab, "add_routes", None):
            add_routes(app, studio)
    return gr.mount_gradio_app(app, page, path="/", footer_links=["api"], run_history=False)
