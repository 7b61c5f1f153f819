"""The way in from outside: hosts, cookies, accounts, uploads, and what of Gradio is open to whom."""
