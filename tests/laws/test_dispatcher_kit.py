"""The kit finds what it says it finds: every planted fault of a dispatcher, by the law that it breaks."""

from __future__ import annotations

import planted_dispatchers as planted
import pytest
from hypothesis import Phase, settings
from hypothesis.errors import Flaky
from hypothesis.stateful import run_state_machine_as_test
from planted_dispatchers import PlainDispatcher

from wiretask.testing import DispatcherLaw, LawBroken, check_task_dispatcher, task_dispatcher_machine

# A faulty dispatcher is waited for so long, and a correct one for twenty seconds, which it does not need.
FAULTY_SECONDS = 0.5

PLANTED = {
    planted.LosesTasksOnShutdown: DispatcherLaw.ONE_OUTCOME,
    planted.LosesTheLastOnShutdown: DispatcherLaw.ONE_OUTCOME,
    planted.RunsWhatItCancelled: DispatcherLaw.ONE_OUTCOME,
    planted.CancelsWhatFailed: DispatcherLaw.ONE_OUTCOME,
    planted.ServesTwice: DispatcherLaw.ONE_OUTCOME,
    planted.ForgetsTheSecond: DispatcherLaw.ONE_OUTCOME,
    planted.QueuesWhatCouldNotDefer: DispatcherLaw.ONE_OUTCOME,
    planted.DefersLate: DispatcherLaw.DEFER,
    planted.SwallowsDeferErrors: DispatcherLaw.DEFER,
    planted.ServesAtOnce: DispatcherLaw.WORKER,
    planted.LastComesFirst: DispatcherLaw.ORDER,
    planted.DiesOfAnException: DispatcherLaw.SURVIVAL,
    planted.DiesOfSystemExit: DispatcherLaw.SURVIVAL,
    planted.StopsCancellingAtTheFirstError: DispatcherLaw.SURVIVAL,
    planted.NeverShrinks: DispatcherLaw.THREAD_COUNT,
    planted.ServesTheBacklogBeforeItShrinks: DispatcherLaw.THREAD_COUNT,
    planted.NeverGrows: DispatcherLaw.THREAD_COUNT,
    planted.WaitsForItself: DispatcherLaw.SHUTDOWN,
    planted.DoesNotWait: DispatcherLaw.SHUTDOWN,
    planted.CancelsWhenToldToDrain: DispatcherLaw.DRAIN,
    planted.TakesTasksWhenShut: DispatcherLaw.REFUSAL,
    planted.RefusesWithoutCancelling: DispatcherLaw.REFUSAL,
    planted.NeverOpensAgain: DispatcherLaw.REFUSAL,
    planted.TakesNone: DispatcherLaw.NOT_A_TASK,
    planted.StumblesOverNone: DispatcherLaw.NOT_A_TASK,
    planted.CountsWhatRuns: DispatcherLaw.ESTIMATE,
    planted.KeepsCounting: DispatcherLaw.ESTIMATE,
}
# What a machine without scenes finds as well: tasks that are lost, run twice, taken or refused wrongly.
FOUND_BY_THE_MACHINE = [
    planted.LosesTasksOnShutdown,
    planted.RunsWhatItCancelled,
    planted.CancelsWhatFailed,
    planted.ServesTwice,
    planted.QueuesWhatCouldNotDefer,
    planted.DefersLate,
    planted.SwallowsDeferErrors,
    planted.TakesTasksWhenShut,
    planted.RefusesWithoutCancelling,
    planted.NeverOpensAgain,
    planted.KeepsCounting,
]
# The same sequences every time, for one version of Python, and none made smaller: is it found at all?
SEARCH = settings(
    max_examples=50,
    stateful_step_count=20,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
)


# A planted fault may well end its own threads with an exception.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("factory", PLANTED, ids=lambda cls: cls.__name__)
def test_planted_fault_is_found_by_its_law(factory: type[PlainDispatcher]) -> None:
    with pytest.raises(LawBroken) as caught:
        check_task_dispatcher(factory, deadline_seconds=FAULTY_SECONDS)
    assert caught.value.law is PLANTED[factory], str(caught.value)
    assert PLANTED[factory].name in str(caught.value)


def test_every_law_has_a_planted_fault() -> None:
    assert set(PLANTED.values()) == set(DispatcherLaw)


def test_correct_dispatcher_passes() -> None:
    check_task_dispatcher(PlainDispatcher)


def test_laws_that_are_not_wanted_are_not_checked() -> None:
    check_task_dispatcher(planted.LastComesFirst, laws=set(DispatcherLaw) - {DispatcherLaw.ORDER})


# A planted fault may well end its own threads with an exception.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("factory", FOUND_BY_THE_MACHINE, ids=lambda cls: cls.__name__)
def test_machine_finds_the_planted_fault(factory: type[PlainDispatcher]) -> None:
    # What threads did once they may not do again, which Hypothesis calls flaky.
    with pytest.raises((LawBroken, Flaky)):
        run_state_machine_as_test(
            task_dispatcher_machine(factory, deadline_seconds=FAULTY_SECONDS),
            settings=settings(SEARCH, max_examples=2000),  # it ends with the first that is found
        )


def test_machine_passes_a_correct_dispatcher() -> None:
    run_state_machine_as_test(task_dispatcher_machine(PlainDispatcher), settings=SEARCH)
