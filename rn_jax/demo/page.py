"""The page: what stands where, and what is done when something is chosen."""

import os
from collections.abc import Callable
from pathlib import Path

# Before Gradio is imported: it asks for this then. Nothing leaves the machine.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"

import gradio as gr  # pyright: ignore[reportMissingImports] (an extra)

from rn_jax.demo.desk import Desk, Shown
from rn_jax.demo.subjects import MAX_BYTES

_TITLE = "Ask a Relation Network"
_HEAD = f"""<div class="rn-head"><h1>{_TITLE}</h1>
<p>It compares the objects of a scene two at a time. Ask it something, and see
which pairs decided.</p></div>"""
_UPLOADS = """<p class="rn-soft">Upload a picture, or one scene in the form of
CLEVR's scenes files.</p>"""
_SYSTEM_FONTS = ["system-ui", "sans-serif"]


def make_page(desk: Desk) -> gr.Blocks:
  """Returns the page; launch shows it.

  Args:
    desk: Does what the page asks for.
  """
  with gr.Blocks(
    title=_TITLE, analytics_enabled=False, delete_cache=(600, 3600)
  ) as page:
    subject = gr.State(None, time_to_live=3600)
    gr.HTML(_HEAD)
    with gr.Row():
      with gr.Column(scale=6, min_width=320):
        picture = gr.HTML(elem_id="picture")
        with gr.Row():
          example = gr.Button("Example", size="sm", min_width=80)
          generate = gr.Button("New scene", size="sm", min_width=80)
          upload = gr.UploadButton(
            "Upload", size="sm", min_width=80, type="filepath"
          )
        gr.HTML(_UPLOADS)
        suggestions = gr.Radio(
          [], label="Questions to try", elem_id="suggestions"
        )
      with gr.Column(scale=5, min_width=320):
        network = gr.Radio(
          [(desk.label(name), name) for name in desk.names],
          value=desk.names[0],
          label="Network",
          visible=len(desk.names) > 1,
        )
        question = gr.Textbox(
          label="Question",
          submit_btn="Ask",
          max_length=1000,
          elem_id="question",
        )
        said = gr.HTML(elem_id="said")
    alike = gr.HTML(elem_id="alike", visible=desk.has_index)

    outputs = [subject, network, question, suggestions, picture, said, alike]

    def when(trigger: Callable, action: Callable, *inputs) -> None:
      trigger(
        lambda *values: _updates(action(*values)),
        [*inputs],
        outputs,
        api_visibility="private",
        show_progress="minimal",
        show_progress_on=[said],
        concurrency_id="desk",  # one at a time: each uses all cores
        concurrency_limit=1,
      )

    def read(path: str, name: str) -> Shown:
      file = Path(path)  # Gradio's copy, which nobody needs any more
      content = file.read_bytes()
      file.unlink()
      return desk.upload(content, file.name, name)

    when(page.load, desk.example, network)
    when(example.click, desk.example, network)
    when(generate.click, desk.generate, network)
    when(upload.upload, read, upload, network)
    when(question.submit, desk.ask, subject, question, network)
    when(suggestions.input, desk.ask, subject, suggestions, network)
    when(network.input, desk.ask, subject, question, network)
  return page


def launch(page: gr.Blocks, host: str, port: int | None) -> str:
  """Starts to serve a page, and returns its address.

  Args:
    page: From make_page.
    host: Address to listen on.
    port: None: the first free one from 7860.

  Raises:
    OSError: The port is taken, or the address is not this machine's.
  """
  try:
    _, address, _ = page.queue(max_size=20).launch(
      prevent_thread_lock=True,
      quiet=True,
      server_name=host,
      server_port=port,
      share=False,
      footer_links=[],
      max_file_size=MAX_BYTES,
      enable_monitoring=False,
      state_session_capacity=100,
      mcp_server=False,
      ssr_mode=False,
      pwa=False,
      css_paths=Path(__file__).with_name("page.css"),
      theme=gr.themes.Default(
        primary_hue="blue", font=_SYSTEM_FONTS, font_mono=["monospace"]
      ),
    )
  except OSError as error:
    place = host if port is None else f"port {port} of {host}"
    raise OSError(
      f"cannot listen on {place}: it is taken, or not this machine's; choose "
      "another --port or --host"
    ) from error
  return address


def _updates(shown: Shown) -> list:
  """Returns what Gradio does with each output; what is None stays."""
  updates: list = [gr.skip() if value is None else value for value in shown]
  if shown.suggestions is not None:
    asked = shown.question if shown.question in shown.suggestions else None
    updates[3] = gr.Radio(shown.suggestions, value=asked)
  return updates
