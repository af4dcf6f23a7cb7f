"""Write the page that shows the thesis's Table 1 and figures beside those made here."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from asim_cvae.base.files import atomic_write
from asim_cvae.figures.pictures import Pictures
from asim_cvae.runs.folder import FIGURES
from asim_cvae.scoring.published import PublishedRow
from asim_cvae.scoring.table1 import FinishedRun, as_markdown, build_table

PAGE = "reproduction.md"
IMAGES = Path("images") / "reproduction"

_FIGURES = {
    "observation": (
        "Figure 2: an observation",
        "The thesis shows a whole observation of three photometers with the class of each frame.",
    ),
    "classes": ("Figure 4: the classes", "The thesis shows a frame of each of the five classes."),
    "latent_map": (
        "Figure 5: the latents",
        "The thesis shows two principal components and t-SNE of the 50 latents of its labelled frames, by cluster; "
        "clusters overlap in both.",
    ),
    "reconstruction_edges": (
        "Figure 6: the boundary issue",
        "The thesis shows a reconstruction whose ends spike, and the same with 5 to 20 samples cut from each end; it "
        "left the cause open. [What causes it](boundary.md).",
    ),
    "cluster0_sample": (
        "Figure 7: a frame of a cluster and its reconstruction",
        "The thesis shows a frame of each of its five clusters beside its reconstruction.",
    ),
    "training": (
        "Training curves",
        "The thesis's validation curves at this learning rate reach a KL term of 1e9 and a log p(x|z) of -2.7e30, and "
        "several initialisations were needed. Ours are those of a short training on a small archive.",
    ),
}
"""Figures by the names under which runs draw them: heading, and what the thesis's figure shows."""


def write_page(
    out: Path,
    runs: Sequence[FinishedRun],
    published: Sequence[PublishedRow],
    pictures: Pictures | None,
    training: Path | None,
) -> Path:
    """Write ``reproduction.md`` and its images into ``out``, and return the page.

    Args:
        out: folder.
        runs: scores of the thesis's weights and of other models, on the same frames.
        published: rows of the thesis's Table 1.
        pictures: figures of its best weights; None if they are not there.
        training: run folder whose training curves are shown; None for none.
    """
    images = _images(pictures, training)
    (out / IMAGES).mkdir(parents=True, exist_ok=True)
    for path in (out / IMAGES).glob("*.png"):
        path.unlink()
    for name, content in images.items():
        with atomic_write(out / IMAGES / f"simulated_{name}.png") as partial:
            partial.write_bytes(content)
    lines = [
        "# The thesis, made again (simulated)",
        "",
        "R. C. Joergensen, *Developing a Convolutional Variational Auto-Encoder for the ASIM Dataset*, DTU Compute,",
        "2021. `make reproduction` writes this page: its ten published weights, and networks of this program, score",
        "the same simulated frames; each published row, of 555 real frames that are not public, stands above ours.",
        "Figures are drawn by its best weights (`relu_lr2e-4`) on these frames.",
        "",
        "## Table 1",
        "",
        as_markdown(build_table(runs, published)),
        *_figure_lines(images),
    ]
    with atomic_write(out / PAGE) as partial:
        partial.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return out / PAGE


def _images(pictures: Pictures | None, training: Path | None) -> dict[str, bytes]:
    """Return the images that can be drawn, as PNG, by the names of ``_FIGURES``."""
    found: dict[str, bytes] = {}
    with TemporaryDirectory() as folder:
        drawn = [] if pictures is None else pictures.write(Path(folder), 0)
        if training is not None:
            drawn += (training / FIGURES).glob("*training.png")
        for path in drawn:
            found[path.stem.removeprefix("simulated_")] = path.read_bytes()
    return {name: found[name] for name in _FIGURES if name in found}


def _figure_lines(images: Mapping[str, bytes]) -> list[str]:
    lines = []
    for name in images:
        heading, told = _FIGURES[name]
        lines += ["", f"## {heading}", "", told, "", f"![{heading}, simulated]({IMAGES / f'simulated_{name}.png'})"]
    return lines
