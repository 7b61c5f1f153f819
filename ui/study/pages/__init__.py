"""The annotator's own pages: plain HTML, CSS and JavaScript of this repository beside a JSON interface, outside Gradio.

Gradio shows a picture by its file name and keeps what passes through it; here nothing but tokens reaches the browser.
"""
