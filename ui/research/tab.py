"""The Research tab: make, run and watch studies, and take their results away. Everything here is a call of `mre.study`.

What the server owns is in the store; the page holds only which study is looked at. Downloads come from routes of their own, so that no
result lies in Gradio's cache, which all visitors share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from ui.events import QUIET
from ui.research import judge
from ui.research.handlers import ResearchHandlers
from ui.research.panel import ResearchPanel
from ui.site.door import this_page
from ui.texts import t

if TYPE_CHECKING:
    from ui.studio import Studio

title = t("tab_research")
REFRESH_SECONDS = 20
NOW: dict[str, Any] = {"queue": False, "api_visibility": "private"}
SLOW: dict[str, Any] = {"api_visibility": "private"}                 # through the queue, which says how long it takes


def build(studio: Studio) -> None:
    """Draw the tab and connect its handlers."""
    panel = ResearchPanel(studio.access.enabled)
    handlers = ResearchHandlers(studio, panel)
    judge.connect(studio, panel.judge, panel.chosen)
    connect_looking(panel, handlers)
    connect_moves(panel, handlers)
    connect_making(panel, handlers)


def connect_looking(panel: ResearchPanel, handlers: ResearchHandlers) -> None:
    """What is to be seen of the chosen study, anew at a choice, a click and from time to time."""
    page, lists = this_page(), [panel.chosen, *panel.shown]
    for seen in (panel.refresh.click, page.load):
        seen(handlers.lists, None, lists, inputs_kwargs=panel.study, **NOW)
    gr.on([panel.refresh.click, page.load], handlers.folders, None, panel.new.folder, **QUIET)
    for seen in (panel.chosen.change, gr.Timer(REFRESH_SECONDS).tick):
        seen(handlers.show, None, panel.shown, inputs_kwargs=panel.study, **QUIET)
    panel.chosen.input(handlers.forget_answers, None, [panel.agreement, panel.table, panel.said], **QUIET)
    gr.on([panel.chosen.change, *(box.change for box in panel.pay.values())], handlers.pay_links, None, panel.pay_links,
          inputs_kwargs={**panel.study, **panel.pay}, **QUIET)
    panel.compute.click(handlers.agreement, None, panel.agreement, inputs_kwargs=panel.study, **SLOW)
    panel.make_table.click(handlers.table, None, panel.table, inputs_kwargs=panel.study, **SLOW)
    gr.on([*(box.change for box in panel.power.values()), page.load], handlers.power, None, panel.power_table, inputs_kwargs=panel.power,
          trigger_mode="always_last", **QUIET)


def connect_moves(panel: ResearchPanel, handlers: ResearchHandlers) -> None:
    """What changes the chosen study; it is closed only when somebody is sure."""
    told, person = [panel.said, *panel.shown], {**panel.study, "who": panel.who}
    for button, move in ((panel.moves["start"], "start"), (panel.moves["pause"], "pause"), (panel.close, "close")):
        button.click(handlers.mover(move), None, told, inputs_kwargs=panel.study, **NOW)
    panel.moves["close"].click(lambda: gr.update(visible=True), None, panel.sure, **QUIET)
    gr.on([panel.close.click, panel.cancel.click], lambda: gr.update(visible=False), None, panel.sure, **QUIET)
    panel.exclude.click(handlers.exclude, None, told, inputs_kwargs={**person, "reason": panel.reason}, **NOW)
    panel.recollect.click(handlers.recollect, None, told, inputs_kwargs=person, **NOW)
    panel.include.click(handlers.include, None, told, inputs_kwargs=person, **NOW)
    panel.let_continue.click(handlers.let_continue, None, told, inputs_kwargs=person, **NOW)
    panel.forget.click(handlers.forget, None, told, inputs_kwargs=panel.study, **NOW)


def connect_making(panel: ResearchPanel, handlers: ResearchHandlers) -> None:
    """New studies, simulated ones, those that a file brings back, and invitations."""
    lists = [panel.chosen, *panel.shown]
    panel.new.create.click(handlers.create, None, panel.running, inputs_kwargs={**panel.new.sources, **panel.new.design}, **NOW)
    panel.new.imported.upload(handlers.bring_back, None, [*panel.running, panel.new.imported],
                              inputs_kwargs={"name": panel.new.name, "path": panel.new.imported}, **NOW)
    panel.look.tick(handlers.look, None, [*panel.running, *lists], inputs_kwargs={"job_id": panel.job}, **QUIET)
    this_page().load(handlers.running, None, panel.running, **QUIET)
    panel.simulate.click(handlers.simulate, None, [panel.said, *lists], inputs_kwargs={**panel.study, "annotators": panel.annotators},
                         concurrency_limit=1, **SLOW)
    panel.invite.click(handlers.invite, None, panel.links, inputs_kwargs={**panel.study, "count": panel.links_count}, **SLOW)
