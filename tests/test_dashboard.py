"""Tests of what TensorBoard makes of runs."""

import pytest
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams.api_pb2 import ORDER_ASC, ORDER_DESC, ColParams, ListSessionGroupsRequest, Status
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.list_session_groups import Handler

from asim_cvae.figures.dashboard import add_scores
from asim_cvae.scoring.scores import score_columns

SETTINGS = {
    "model.network.dropout": (None, 0.3, 0.1, None),
    "model.learning_rate": (None, None, None, None),
    "model.learning_rate.rise": (None, 0.3, None, None),
    "trainer.devices": (1, "auto", [0, 1], 2),
    "trainer.precision": (32, "bf16-mixed", 32, None),
    "model.augmentations": ([], [{"_target_": "x"}], [], []),
    "model.optimizer.lr": (1, 2e-4, 1e-4, 3),
    "model.cuda_graph": (True, False, True, True),
}


@pytest.fixture(scope="module")
def handler(tmp_path_factory: pytest.TempPathFactory):
    """Asks TensorBoard's HParams tab for the runs, sorted by a column."""
    root = tmp_path_factory.mktemp("runs")
    empty = dict.fromkeys(column.name for column in score_columns())
    for number in range(4):
        logger = TensorBoardLogger(root, name=str(number), version="")
        settings = {name: values[number] for name, values in SETTINGS.items()}
        add_scores(logger, settings, {**empty, "epochs": number, "clusters": [], "noise": None})
        logger.finalize("success")
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(root)).Reload()
    context = Context(TBContext(data_provider=MultiplexerDataProvider(multiplexer, str(root))))

    def ask(column: str, order: int) -> list[str]:
        request = ListSessionGroupsRequest(
            start_index=0,
            slice_size=10,
            allowed_statuses=Status.values(),
            col_params=[ColParams(hparam=column, order=order)],
        )
        found = Handler(RequestContext(), context, str(root), request).run()
        return [group.sessions[0].name for group in found.session_groups]

    return ask


@pytest.mark.parametrize("column", SETTINGS)
@pytest.mark.parametrize("order", [ORDER_ASC, ORDER_DESC])
def test_sorting_by_any_setting_lists_all_runs(handler, column: str, order: int) -> None:
    assert sorted(handler(column, order)) == ["0", "1", "2", "3"]


def test_numbers_are_sorted_as_numbers(handler) -> None:
    assert handler("model.optimizer.lr", ORDER_ASC) == ["2", "1", "0", "3"]
    assert [name for name in handler("model.network.dropout", ORDER_ASC) if name in "12"] == ["2", "1"]
