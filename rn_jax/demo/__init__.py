"""A page in the browser to try networks on.

`__main__.py` is the command. `page.py` alone knows Gradio; what the page shows
is made by the other files, which do not know it.
"""
