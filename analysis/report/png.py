"""Save the figures as PNG files, drawn by the page in headless Chromium, which plotly's own exporter needs too."""

import base64
import html
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from trainable.errors import UserError
from trainable.storage.atomic_files import write_atomically

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--virtual-time-budget=120000",
)  # fmt: skip
TIMEOUT = 240
PARALLEL = "parallel"  # its element in the page
# Appended to a copy of the report: adds each figure as an image with its title to the document.
EXPORT = """<script>
addEventListener("load", async () => {
  drawAll();
  for (const plot of plots()) {
    const width = Math.max(900, plot.parentElement.clientWidth);
    const title = plot.closest("figure").querySelector("h3").textContent.replace(/&/g, "&amp;").replace(/</g, "&lt;");
    const layout = { ...plot.layout, title: { text: title, x: 0.01, xanchor: "left", font: { size: 15 } },
      margin: { ...plot.layout.margin, t: 76 } };
    const size = { width, height: plot.layout.height + 42, scale: 2 };
    const image = await Plotly.toImage({ data: plot.data, layout }, { format: "png", ...size });
    document.body.append(tag("i", { "data-png": plot.dataset.figure }, image));
  }
  const lines = byId("parallel");
  if (!lines) return;
  const kept = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "paint-order", "font-size"];
  lines.style.fontFamily = getComputedStyle(lines).fontFamily;
  for (const each of lines.querySelectorAll("*"))
    for (const name of kept) each.style[name] = getComputedStyle(each)[name];
  const [, , width, height] = lines.getAttribute("viewBox").split(" ").map(Number), picture = new Image();
  for (const [name, value] of Object.entries({ width, height })) lines.setAttribute(name, value);
  picture.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(new XMLSerializer().serializeToString(lines));
  await picture.decode();
  const scale = Math.max(2, 1800 / width), canvas = tag("canvas", { width: scale * width, height: scale * height });
  const context = canvas.getContext("2d");
  context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--paper");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  document.body.append(tag("i", { "data-png": "parallel" }, canvas.toDataURL("image/png")));
});
</script>"""


def write_pngs(report: Path, names: Sequence[str], folder: Path) -> None:
    browser = find_browser()
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place, "report.html")
        copy.write_text(report.read_text().replace("</body>\n</html>", EXPORT + "</body>\n</html>"))
        command = [browser, *FLAGS, f"--user-data-dir={place}/profile", "--dump-dom", copy.as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            raise UserError(f"--png: {browser} did not draw the figures within {TIMEOUT} s") from None
    drawn = dict(re.findall(r'<i data-png="([^"]*)">data:image/png;base64,([^<]*)</i>', done.stdout))
    drawn = {html.unescape(name): data for name, data in drawn.items()}
    if missing := [name for name in names if name not in drawn]:
        raise UserError(f"--png: {browser} did not draw {', '.join(missing)} (exit code {done.returncode})")
    for name in [*names, *{PARALLEL} & drawn.keys()]:  # no figure of plotly's
        content = base64.b64decode(drawn[name])
        write_atomically(folder / f"{_file_name(name)}.png", lambda file, content=content: file.write(content))  # type: ignore[misc]


def find_browser() -> str:
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    raise UserError("--png: needs Chromium, which was not found (Debian: apt-get install chromium)")


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)
