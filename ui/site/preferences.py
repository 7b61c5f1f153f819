"""Language and theme, switched at the top of the page: two cookies that hold a word each. The page's own scripts read them before Gradio
asks the browser for its language and its colour scheme; what the server says reads the language (`ui.texts.language_of`)."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LANGUAGE_NAMES = {"en": "English", "zh": "中文"}
THEMES = {"light": ("Light", "浅色"), "dark": ("Dark", "深色"), "system": ("As the system", "跟随系统")}
SIGNS = {"light": '<circle cx="12" cy="12" r="4"/>'
                  '<path d="M12 3v2M12 19v2M3 12h2M19 12h2M5.6 5.6 7 7M17 17l1.4 1.4M5.6 18.4 7 17M17 7l1.4-1.4"/>',
         "dark": '<path d="M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z"/>',
         "system": '<rect x="3" y="4" width="18" height="12" rx="2"/><path d="M8 20h8M12 16v4"/>'}


def switches_html() -> str:
    """The two switches; `assets/preferences.js` says which of their buttons are pressed."""
    languages = "".join(f'<button type="button" data-language="{code}" lang="{code}">{name}</button>'
                        for code, name in LANGUAGE_NAMES.items())
    themes = "".join(f'<button type="button" data-theme="{theme}" title="{english} / {chinese}">'
                     f'<svg viewBox="0 0 24 24" aria-hidden="true">{SIGNS[theme]}</svg>{both_html(english, chinese)}</button>'
                     for theme, (english, chinese) in THEMES.items())
    return (f'<div class="preferences"><div role="group" aria-label="Language / 语言">{languages}</div>'
            f'<div role="group" aria-label="Theme / 主题">{themes}</div></div>')


def both_html(english: str, chinese: str) -> str:
    """A name for readers of the screen in both languages, of which the page's style keeps its own."""
    return f'<span class="visually-hidden" lang="en">{english}</span><span class="visually-hidden" lang="zh">{chinese}</span>'


class FirstScript:
    """Puts a script before all others of the page: Gradio has no place for one that runs before its own."""

    def __init__(self, app: ASGIApp, script: str) -> None:
        self.app = app
        self._script = f"<script>\n{script}</script>".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] != "/":
            await self.app(scope, receive, send)
            return
        start: Message | None = None
        parts: list[bytes] = []

        async def rewrite(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            parts.append(message.get("body", b""))
            if message.get("more_body") or start is None:
                return
            body = b"".join(parts)
            headers = [(name, value) for name, value in start.get("headers", ()) if name.lower() != b"content-length"]
            if any(name.lower() == b"content-type" and value.startswith(b"text/html") for name, value in headers):
                body = body.replace(b"<head>", b"<head>" + self._script, 1)
            await send({**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
            await send({"type": "http.response.body", "body": body})
        await self.app(scope, receive, rewrite)
