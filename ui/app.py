"""The whole web application: the tabs in one page, the studio's own routes beside them."""

from __future__ import annotations

from importlib.util import find_spec

import gradio as gr
from fastapi import FastAPI

from mre.editing import Editor
from mre.imaging import MAX_BYTES
from ui import compare_tab, data_tab, edit_programs, edit_tab, research_tab, study_tab, texts, theme
from ui.pictures import own_upload_folder
from ui.sites import Sites, add_site_checks
from ui.studio import Studio, StudioSettings

# modules with `title`, `build(studio)` and, where they have own routes, `add_routes(app, studio)`
TABS: tuple = (edit_tab, study_tab, research_tab, compare_tab, data_tab)

MOST_SESSIONS = 500           # Gradio keeps about half a megabyte of each
UPLOAD_SECONDS = 2 * 3600     # uploads go when their tab closes; this is for those whose tab never said so
texts.add_texts({"tagline": ("Say what to change, and how good the change shall be.", "说出要改什么，以及要改得多好。")})


def build_app(settings: StudioSettings | None = None, editors: dict[str, Editor] | None = None) -> FastAPI:
    """A FastAPI application with the page at `/` and the tabs' own routes beside it. Loads no model. `app.state.studio` is its studio;
    `editors` stand in for those that the settings name."""
    own_upload_folder()                          # before Gradio asks where uploads go
    studio = Studio(settings or StudioSettings(), editors)
    access = studio.access
    sites = Sites(studio.settings.host, studio.settings.allowed_hosts, studio.settings.trusted_proxies, studio.settings.frame_ancestors)
    with gr.Blocks(title="MRE Studio", analytics_enabled=False, delete_cache=(600, UPLOAD_SECONDS)) as page:
        with gr.Row(elem_classes="masthead"):
            gr.HTML("<h1><b>MRE</b> Studio</h1>")
            gr.Markdown(texts.t("tagline"), elem_classes="tagline")
            access.show_account(page)
        shown = {}
        with gr.Tabs():
            for tab in TABS:
                before = set(page.fns)
                with gr.Tab(tab.title, visible=access.shows(tab, "visitor")) as shown[tab]:
                    tab.build(studio)
                access.protect(page, before, tab)
        access.show_tabs(page, shown)
    page.queue(max_size=200)
    page.state_session_capacity = MOST_SESSIONS
    app = FastAPI(title="MRE Studio", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.studio, app.state.page = studio, page
    access.add_routes(app)
    add_site_checks(app, sites)
    for tab in TABS:
        if add_routes := getattr(tab, "add_routes", None):
            known = len(app.routes)
            add_routes(app, studio)
            access.protect_routes(app.routes[known:], tab)
    gr.mount_gradio_app(app, page, path="/", footer_links=["api", "settings"], run_history=False, show_error=False,
                        max_file_size=MAX_BYTES, auth_dependency=access.gradio_name, mcp_server=find_spec("mcp") is not None,
                        theme=theme.theme(), css=theme.css(), head=theme.head(), i18n=texts.translations())
    if page.mcp_server_obj:
        edit_programs.show_agents(studio, page.mcp_server_obj)
    return app
