"""The whole web application: the tabs in one page, the studio's own routes beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import gradio as gr
from fastapi import FastAPI
from gradio.i18n import I18nData

from ui import texts, theme
from ui.compare import tab as compare_tab
from ui.data import tab as data_tab
from ui.edit import tab as edit_tab
from ui.events import QUIET
from ui.research import files as research_files
from ui.research import tab as research_tab
from ui.site import gate
from ui.site.door import Page
from ui.site.preferences import FirstScript, switches_html
from ui.site.sites import Sites, add_site_checks
from ui.site.uploads import MOST_BYTES, own_folder
from ui.studio import Studio, StudioSettings
from ui.study import tab as study_tab
from ui.study.pages import routes as study_routes

if TYPE_CHECKING:
    from mre.editors.editor import Editor


@dataclass(frozen=True)
class Tab:
    """A tab of the page: its name in addresses, its title, what draws it, what adds its own routes, and the least role that may use it
    where there are accounts."""

    name: str
    title: I18nData
    build: Callable[[Studio], None]
    add_routes: Callable[[FastAPI, Studio], None] | None = None
    role: str = "researcher"


TABS = (Tab("edit", edit_tab.title, edit_tab.build, edit_tab.add_routes, role="visitor"),
        Tab("study", study_tab.title, study_tab.build, study_routes.add_routes, role="visitor"),
        Tab("research", research_tab.title, research_tab.build, research_files.add_routes),
        Tab(compare_tab.NAME, compare_tab.title, compare_tab.build),
        Tab("data", data_tab.title, data_tab.build))
MOST_SESSIONS = 500           # Gradio keeps about half a megabyte of each
texts.add_texts({"tagline": ("Say what to change, and how good the edit should be.", "说出要改什么，以及要改得多好。")})


def open_asked(studio: Studio, after: Callable[..., object], tabs: gr.Tabs) -> None:
    """Open the tab that the page's address names (`?tab=data`, or what a tab's own link holds), where the visitor may."""
    def opened(request: gr.Request) -> object:
        asked = dict(request.query_params or {})
        name = asked.get("tab") or (compare_tab.NAME if any(key.startswith(compare_tab.LINK) for key in asked) else "")
        found = next((tab for tab in TABS if tab.name == name), TABS[0])
        allowed = studio.access.shows(found.role, studio.access.role(request))
        return gr.Tabs(selected=found.name) if found is not TABS[0] and allowed else gr.skip()
    after(opened, None, tabs, **QUIET)


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
            gr.HTML(switches_html(), elem_id="preferences")
        shown = {}
        with gr.Tabs() as tabs:
            for tab in TABS:
                is_open = access.shows(tab.role, "visitor")
                with gr.Tab(tab.title, id=tab.name, visible=is_open, elem_id=f"tab-{tab.name}") as drawn, page.functions_for(tab.role):
                    tab.build(studio)
                drawn.select(None, None, None, js=f"() => window.mreTabs.shown('{tab.name}')", **QUIET)
                shown[drawn] = tab.role
        known = access.show_tabs(page, shown)    # first what a visitor may open, where that depends on who it is
        open_asked(studio, page.load if known is None else known.then, tabs)
    page.queue(max_size=200)
    page.state_session_capacity = MOST_SESSIONS
    app = FastAPI(title="MRE Studio", docs_url=None, redoc_url=None, openapi_url=None, max_body_size=gate.BODY_BYTES)
    app.state.studio, app.state.page = studio, page
    gate.add_routes(app, studio)
    access.add_routes(app)
    app.add_middleware(FirstScript, script=theme.first_script())
    add_site_checks(app, sites)
    for tab in TABS:
        if tab.add_routes:
            known = len(app.routes)
            tab.add_routes(app, studio)
            access.protect_routes(app.routes[known:], tab.role)
    gr.mount_gradio_app(app, page, path="/", footer_links=["api", "settings"], run_history=False, show_error=False,
                        max_file_size=max(MOST_BYTES.values()), auth_dependency=access.gradio_name, mcp_server=find_spec("mcp") is not None,
                        theme=theme.theme(), css=theme.css(), head=theme.head(), i18n=texts.translations())
    page.open()
    gate.shut(app, studio)
    if page.mcp_server_obj:
        from ui.site.agents import answer_agents  # only where the package for agents is installed
        answer_agents(studio, page)
    return app
