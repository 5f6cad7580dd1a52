"""What holds for every suite: a deadline for each test, none skipped, and a last line that counts."""

import signal

import pytest

DEADLINE_SECONDS = 60


def pytest_addoption(parser):
    parser.addoption("--deadline", type=int, default=DEADLINE_SECONDS, help="how many seconds a test may take")


@pytest.fixture(autouse=True)
def deadline(request):
    """No test waits for ever for a message that does not come."""
    mark = request.node.get_closest_marker("deadline")
    seconds = mark.args[0] if mark else request.config.getoption("deadline")

    def too_late(*_):
        raise TimeoutError(f"the test took more than {seconds} s")

    signal.signal(signal.SIGALRM, too_late)
    signal.alarm(seconds)
    yield
    signal.alarm(0)


def pytest_configure(config):
    config.addinivalue_line("markers", "deadline(seconds): how long the test may take")


def pytest_unconfigure(config):
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter:
        count = {outcome: len(reporter.stats.get(outcome, [])) for outcome in ("passed", "failed", "error", "skipped")}
        print(f"\n{count['passed']} passed, {count['failed'] + count['error'] + count['skipped']} failed")


def pytest_sessionfinish(session):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter and reporter.stats.get("skipped"):
        session.exitstatus = 1  # nothing is skipped here
