"""``python -m asim_cvae.prepare``: read an archive into the frame store."""

from hydra.utils import instantiate
from omegaconf import DictConfig

from asim_cvae.cli import command
from asim_cvae.sources import check_data, make_data, provide_archive


def _check(config: DictConfig) -> None:
    check_data(config.data)
    instantiate(config.engine)
    make_data(config.data, representation=None)


@command("prepare", _check)
def main(config: DictConfig) -> None:
    """Bring the store up to date, and report rejected files and excluded frames with the reasons."""
    engine = instantiate(config.engine)
    provide_archive(config.data, engine)
    make_data(config.data, representation=None).prepare_data(config.check, config.compact, engine)


if __name__ == "__main__":
    main()
