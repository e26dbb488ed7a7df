"""Sizes that the command `gpu` chooses, for cards whose memory and speed are made up: arithmetic, no measurement."""

from __future__ import annotations

import pytest

from exo2ego.attention.layout import TokenLayout
from exo2ego.common.wan_grid import WAN_BLOCKS
from exo2ego.measure.plan import LADDER, TINY, Card, Plan, block_bytes, block_seconds, blocks_that_fit, plan_for

EIGHT_MINUTES = 480.0
GB = 10**9
LARGE = Card(79 * GB, 600e12, 400e12)
CONSUMER = Card(15 * GB, 90e12, 75e12)


def test_a_large_card_runs_egoxs_own_size():
    plan = plan_for(LARGE, EIGHT_MINUTES)
    assert plan.attention == plan.gradients == plan.steps == LADDER[0]
    assert plan.blocks == WAN_BLOCKS
    assert plan.run != LADDER[0]  # 104 model calls of that size take longer than all sections have


def test_a_card_of_16_gb_gets_smaller_sizes_and_fewer_blocks():
    plan = plan_for(CONSUMER, EIGHT_MINUTES)
    assert 4 <= plan.blocks < WAN_BLOCKS
    assert TokenLayout(*plan.run).n_tokens < TokenLayout(*plan.steps).n_tokens < TokenLayout(*LADDER[0]).n_tokens
    assert any("of 40: times are scaled up" in line for line in plan.described())


@pytest.mark.parametrize("card", [LARGE, CONSUMER, Card(11 * GB, 40e12, 35e12), Card(23 * GB, 160e12, 130e12)])
def test_weights_and_two_prompts_fit_the_free_memory(card):
    plan = plan_for(card, EIGHT_MINUTES)
    for grid in (plan.steps, plan.run):
        activations = 2 * 5.05 * 2**30 * TokenLayout(*grid).n_tokens / 28028  # ComfyUI's estimate, of two prompts
        assert plan.blocks * block_bytes() + activations < card.free


@pytest.mark.parametrize("minutes", [4, 8, 30])
def test_a_larger_budget_never_chooses_smaller_sizes(minutes):
    plans = [plan_for(CONSUMER, 60.0 * minutes), plan_for(CONSUMER, 120.0 * minutes)]
    for name in ("attention", "gradients", "steps", "run"):
        before, after = (TokenLayout(*getattr(plan, name)).n_tokens for plan in plans)
        assert after >= before


def test_predicted_times_stay_within_the_budget():
    plan = plan_for(LARGE, EIGHT_MINUTES)
    step = plan.blocks * block_seconds(LARGE, TokenLayout(*plan.steps).n_tokens)
    run = plan.blocks * block_seconds(LARGE, TokenLayout(*plan.run).n_tokens)
    assert 55 * step + 104 * run < EIGHT_MINUTES


def test_a_block_weighs_what_wan_14b_says():
    """Wan 2.1 I2V 14B in bfloat16 is 32.8 GB, of which the blocks are all but half a GB."""
    assert 32.0e9 < WAN_BLOCKS * block_bytes() < 32.8e9
    assert blocks_that_fit(0, LADDER[0]) == 0


def test_a_plan_is_kept_in_a_file():
    plan = plan_for(Card(0, is_dry=True), EIGHT_MINUTES)
    assert plan.attention == TINY
    assert Plan.from_json(plan.to_json()) == plan
