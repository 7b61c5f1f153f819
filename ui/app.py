"""The whole web application: the tabs in one page, the studio's own routes beside them."""

from __future__ import annotations

from importlib.util import find_spec

import gradio as gr
from fastapi import FastAPI

from mre.editors.editor import Editor
from ui import texts, theme
from ui.compare import tab as compare_tab
from ui.data import tab as data_tab
from ui.edit import tab as edit_tab
from ui.research import tab as research_tab
from ui.site import gate
from ui.site.door import Page
from ui.site.sites import Sites, add_site_checks
from ui.site.uploads import MOST_BYTES, own_folder
from ui.studio import Studio, StudioSettings
from ui.study import tab as study_tab

# modules with `title`, `build(studio)` and, where they have own routes, `add_routes(app, studio)`
TABS: tuple = (edit_tab, study_tab, research_tab, compare_tab, data_tab)

MOST_SESSIONS = 500           # Gradio keeps about half a megabyte of each
texts.add_texts({"tagline": ("Say what to change, and how good the edit should be.", "说出要改什么，以及要改得多好。")})


def build_app(settings: StudioSettings | None = None, editors: dict[str, Editor] | None = None) -> FastAPI:
    """A FastAPI application with the page at `/` and the tabs' own routes beside it. Loads no model. `app.state.studio` is its studio;
    `editors` stand in for those that the settings name."""
    own_folder()                                 # before Gradio asks where files go
    studio = Studio(settings or StudioSettings(), editors)
    access = studio.access
    sites = Sites(studio.settings.host, studio.settings.allowed_hosts, studio.settings.trusted_proxies, studio.settings.frame_ancestors)
    with Page(studio, title="MRE Studio", analytics_enabled=False) as page:
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
    app = FastAPI(title="MRE Studio", docs_url=None, redoc_url=None, openapi_url=None, max_body_size=gate.BODY_BYTES)
    app.state.studio, app.state.page = studio, page
    gate.add_routes(app, studio)
    access.add_routes(app)
    add_site_checks(app, sites)
    for tab in TABS:
        if add_routes := getattr(tab, "add_routes", None):
            known = len(app.routes)
            add_routes(app, studio)
            access.protect_routes(app.routes[known:], tab)
    gr.mount_gradio_app(app, page, path="/", footer_links=["api", "settings"], run_history=False, show_error=False,
                        max_file_size=max(MOST_BYTES.values()), auth_dependency=access.gradio_name, mcp_server=find_spec("mcp") is not None,
                        theme=theme.theme(), css=theme.css(), head=theme.head(), i18n=texts.translations())
    page.has_launched = page.is_running = True   # mounting leaves Gradio's own checks of files off
    gate.shut(app, studio)
    if page.mcp_server_obj:
        from ui.site.agents import answer_agents  # only where the package for agents is installed
        answer_agents(studio, page)
    return app
