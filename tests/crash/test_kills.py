"""SIGKILL at moments that nobody chose: whatever the store says afterwards, the target agrees with it."""

import random

import pytest

from tests.crash.campaign import Campaign, Point, strace_works
from tests.crash.world import World

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def campaign(tmp_path, request):
    with World(tmp_path) as world:
        yield Campaign(world, random.Random(request.node.name))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_after_five_kills_at_random_moments_everything_is_as_if_there_had_been_none(campaign, seed):
    for _ in range(5):
        campaign.kill_at_random()

    assert campaign.tally.violations == []
    assert campaign.tally.kills == 5
    assert campaign.tally.executed > 5 * 3 * 6


@pytest.mark.slow
def test_kills_during_recovery_are_recovered_from(campaign):
    campaign.kill_during_recovery()

    assert campaign.tally.violations == []
    assert campaign.tally.kills == 3


@pytest.mark.slow
def test_a_stopped_controller_goes_on_where_it_was(campaign):
    campaign.stop_and_continue(1.0)

    assert campaign.tally.violations == []
    assert campaign.tally.duplicates == 0
    assert campaign.tally.lost == 0


@pytest.mark.slow
@pytest.mark.parametrize("point", [Point("fdatasync", 9), Point("recvfrom", 6)], ids=str)
def test_a_kill_at_a_chosen_system_call_is_recovered_from(campaign, point):
    if not strace_works():
        pytest.skip("there is no strace here that can send signals")

    assert campaign.kill_at_syscall(point)

    assert campaign.tally.violations == []
