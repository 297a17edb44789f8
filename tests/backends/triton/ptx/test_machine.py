"""The machine that runs compiled kernels: that it stops at what it is there to find."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from asrc.tests.backends.triton.ptx.hazards import Race
from asrc.tests.backends.triton.ptx.machine import Launch, Machine
from asrc.tests.backends.triton.ptx.memory import Earlier, Fault, global_memory
from asrc.tests.backends.triton.ptx.program import read
from asrc.tests.backends.triton.ptx.traffic import Traffic

FRAME = """
.visible .entry kernel(
	.param .u64 .ptr .global .align 1 x,
	.param .u64 .ptr .global .align 1 y
)
.reqntid 64
{{
	.reg .pred %p<9>; .reg .b16 %rs<9>; .reg .b32 %r<32>; .reg .b64 %d<32>;
	ld.param.b64 %d1, [x]; ld.param.b64 %d2, [y];
	mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x;
	mul.wide.u32 %d3, %r1, 4; add.s64 %d4, %d1, %d3; add.s64 %d5, %d2, %d3;
	shl.b32 %r3, %r1, 2; xor.b32 %r4, %r3, 128; // in shared memory, own and another's
{body}
	ret;
}}
"""
"""Of x and y, a thread's places are %d4 and %d5."""
ORDERS = [0, 1, -1]
ROOM = 8180
"""Bytes of shared memory: no whole lines."""


def run(
    body: str, x: Tensor, y: Tensor, blocks: int = 1, order: int = 0, room: int = 9,
    earlier: Earlier | None = None, early: bool = False,
) -> Machine:  # fmt: skip
    program = read(FRAME.format(body=body))
    memory = global_memory([x, y], 4, earlier)
    parameters = {"x": memory.address(x.data_ptr()), "y": memory.address(y.data_ptr())}
    launch = Launch(
        program, (blocks, 1, 1), parameters, memory.memory, ROOM, 4, room, order, Traffic(), early
    )  # fmt: skip
    machine = Machine(launch)
    machine.run()
    memory.back()
    return machine


def numbers(count: int = 64) -> tuple[Tensor, Tensor]:
    return torch.arange(count, dtype=torch.int32), torch.full((count,), -7, dtype=torch.int32)


COPY = "ld.global.b32 %r5, [%d4]; st.global.b32 [%d5], %r5;"


@pytest.mark.parametrize("order", ORDERS)
def test_a_copy(order: int) -> None:
    x, y = numbers()
    machine = run(COPY, x, y, order=order)
    assert torch.equal(x, y)
    assert machine.issued["ld.global.b32"] == 2


def test_views_of_one_storage_see_each_other() -> None:
    whole = torch.arange(200, dtype=torch.int32)
    run(COPY, whole[3:67], whole[100:164])
    assert torch.equal(whole[100:164], torch.arange(3, 67, dtype=torch.int32))
    assert whole[164] == 164


HALF = """
	shl.b32 %r5, %r1, 4; st.shared.b32 [%r5], 1; st.shared.b32 [%r5+12], 1;
	ld.shared.v4.b32 {%r6, %r7, %r8, %r9}, [%r5];
"""


@pytest.mark.parametrize(("body", "how"), [
    ("ld.global.b32 %r5, [%d4+4];", "is read out of bounds"),
    ("ld.global.b32 %r5, [%d4+-4];", "is read out of bounds"),
    ("st.global.b32 [%d5+4], %r1;", "is written out of bounds"),
    ("ld.global.v2.b32 {%r5, %r6}, [%d4];", "8 bytes of global memory are read at once"),
    ("ld.shared.b32 %r5, [%r3];", "that nothing was written to"),
    (HALF, "that nothing was written to"),
    ("st.shared.b32 [%r3+7932], %r1;", "shared memory is written out of bounds"),
    ("cp.async.ca.shared.global [%r3], [%d4], 4; cp.async.commit_group; ld.shared.b32 %r5, [%r3];",
     "that nothing was written to"),
    ("setp.lt.u32 %p1, %r1, 5; @%p1 bra $L1; bar.sync 0; $L1:", "not by all"),
    ("bmsk.clamp.b32 %r5, %r1, 3;", "has not"),
])  # fmt: skip
def test_faults(body: str, how: str) -> None:
    with pytest.raises(Fault, match=how):
        run(body, *numbers())


MIXED = "st.shared.b32 [%r3], %r1;{} ld.shared.b32 %r5, [%r4]; st.global.b32 [%d5], %r5;"
AGAIN = " bar.sync 0; ld.shared.b32 %r5, [%r4];{} st.shared.b32 [%r3], %r5;"


@pytest.mark.parametrize("order", ORDERS)
def test_warps_wait_at_a_barrier(order: int) -> None:
    x, y = numbers()
    run(MIXED.format(" bar.sync 0;"), x, y, order=order)
    assert torch.equal(y, x.roll(32))


OTHERS = """
	st.global.b32 [%d5], %r1; xor.b32 %r6, %r1, 32; mul.wide.u32 %d6, %r6, 4;
	add.s64 %d7, %d2, %d6; ld.global.b32 %r7, [%d7];
"""


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("body", "how"), [
    (MIXED.format(""), "nothing was written to|may not have written yet"),
    ("st.shared.b32 [%r3], %r1;" + AGAIN.format(""), "may still read|may not have written"),
    (OTHERS, "global memory is read"),
    ("shr.u32 %r5, %r1, 5; st.global.b32 [%d2], %r5;", "two threads write"),
    ("st.shared.b32 [%r3], %r2; xor.b32 %r5, %r2, 1; st.shared.b32 [%r4], %r5;", "two threads"),
])  # fmt: skip
def test_warps_that_do_not_wait(body: str, how: str, order: int) -> None:
    with pytest.raises((Race, Fault), match=how):
        run(body, *numbers(), order=order)


def test_a_place_that_is_read_before_it_is_written_again() -> None:
    x, y = numbers()
    run("st.shared.b32 [%r3], %r1;" + AGAIN.format(" bar.sync 0;"), x, y)


def test_threads_that_write_the_same_are_no_race() -> None:
    x, y = numbers()
    run("st.global.b32 [%d2], 5;", x, y, blocks=3)
    assert y.tolist() == [5, *[-7] * 63]


def test_blocks_that_write_to_one_place() -> None:
    with pytest.raises(Race, match="two threads write"):
        run("st.global.b32 [%d5], %r2;", *numbers(), blocks=2)


def test_a_block_that_reads_what_another_writes() -> None:
    """The first writes, the others read."""
    body = "setp.eq.u32 %p1, %r2, 0; @%p1 st.global.b32 [%d5], %r1; @!%p1 ld.global.b32 %r5, [%d5];"
    with pytest.raises(Race, match="may not have written yet"):
        run(body, *numbers(), blocks=2)


HANDED = """
	setp.eq.u32 %p1, %r2, {first}; @%p1 bra $L_give;
	setp.eq.u32 %p2, %r1, 0;
$L_again: mov.u32 %r5, 1;
	@%p2 ld.global.gpu.acquire.b32 %r5, [%d1];
	st.shared.b32 [%r3], %r5; setp.eq.u32 %p3, %r5, 0; @%p3 bra $L_again;
	bar.sync 0; ld.global.b32 %r6, [%d5]; add.s32 %r6, %r6, 1; bar.sync 0;
	st.global.b32 [%d4+256], %r6; bra $L_end;
$L_give: st.global.b32 [%d5], %r1;{barrier}
	setp.eq.u32 %p2, %r1, 0;
	@%p2 atom.global.gpu.{how}.add.u32 %r7, [%d1], 1;
$L_end:
"""
"""One block gives y to the other, by a counter in x[0]; what comes of it is in x[64:]."""


def handed(
    first: int, barrier: str = " bar.sync 0;", how: str = "release", room: int = 9
) -> Tensor:
    x, y = torch.zeros(128, dtype=torch.int32), torch.zeros(64, dtype=torch.int32)
    run(HANDED.format(first=first, barrier=barrier, how=how), x, y, blocks=2, room=room)
    return x[64:]


@pytest.mark.parametrize("first", [0, 1])
def test_blocks_that_wait_for_each_other(first: int) -> None:
    assert torch.equal(handed(first), torch.arange(1, 65, dtype=torch.int32))


@pytest.mark.parametrize("given", [{"how": "relaxed"}, {"barrier": ""}])
@pytest.mark.parametrize("first", [0, 1])
def test_blocks_that_are_told_too_early(first: int, given: dict[str, str]) -> None:
    with pytest.raises(Race, match="may not have written yet"):
        handed(first, **given)


def test_blocks_that_there_is_no_room_for() -> None:
    """The first would have to wait for the second, which begins when it has ended."""
    assert torch.equal(handed(0, room=1), torch.arange(1, 65, dtype=torch.int32))
    with pytest.raises(Fault, match="have no room"):
        handed(1, room=1)


FOLLOW = "griddepcontrol.launch_dependents; griddepcontrol.wait;"
ADDED = "add.s32 %r5, %r5, 1; st.global.b32 [%d5], %r5;"


def test_what_no_kernel_writes_is_read_before_those_before_end() -> None:
    x, y, earlier = *numbers(), Earlier()
    for turn in (1, 2):  # what the first makes the second writes again
        run(f"ld.global.b32 %r5, [%d4]; {FOLLOW} {ADDED}", x, y, earlier=earlier)
        assert torch.equal(y, x + 1), turn
    assert earlier.has(y.untyped_storage())
    assert not earlier.has(x.untyped_storage())


@pytest.mark.parametrize(("body", "how"), [
    (f"ld.global.b32 %r5, [%d4]; {FOLLOW} {ADDED}", "is read that kernels before"),
    (f"cp.async.ca.shared.global [%r3], [%d4], 4; {FOLLOW}", "is read that kernels before"),
    (f"st.global.b32 [%d5], %r1; {FOLLOW}", "is written that kernels before"),
    (f"atom.global.gpu.relaxed.add.u32 %r7, [%d2], 1; {FOLLOW}", "is written that kernels before"),
    ("setp.lt.u32 %p1, %r1, 5; @%p1 griddepcontrol.wait;", "never waited"),
])  # fmt: skip
def test_what_comes_before_kernels_have_ended(body: str, how: str) -> None:
    """What a kernel before wrote, and whatever is written; and kernels behind that go by this one
    alone."""
    x, y, earlier = *numbers(), Earlier()
    run(COPY, y, x, earlier=earlier)
    with pytest.raises(Fault, match=how):
        run(body, x, y, earlier=earlier)


def test_a_kernel_that_begins_early_and_does_not_wait() -> None:
    run(COPY, *numbers())
    with pytest.raises(Fault, match="is written that kernels before"):
        run(COPY, *numbers(), early=True)


def test_memory_that_is_freed_was_written_by_nobody() -> None:
    x, y, earlier = *numbers(), Earlier()
    run(COPY, x, y, earlier=earlier)
    place, y = y.data_ptr(), torch.empty(0)
    assert place in earlier.storages
    assert earlier.storages[place].expired()


@pytest.mark.parametrize(("size", "offset", "how"), [
    (256, 0, None), (16, 240, None), (256, 16, "out of bounds"), (32, 8, "whole vectors"),
    (24, 0, "whole vectors"), (0, 0, "whole vectors"), (16, -16, "out of bounds"),
])  # fmt: skip
def test_what_is_expected_is_there(size: int, offset: int, how: str | None) -> None:
    body = f"cp.async.bulk.prefetch.L2.global [%d1+{offset}], {size};"
    if how is None:
        assert run(body, *numbers()).issued["cp.async.bulk.prefetch.L2.global"] == 2
        return
    with pytest.raises(Fault, match=how):
        run(body, *numbers())


@pytest.mark.parametrize("order", ORDERS)
def test_paths_that_part_and_join(order: int) -> None:
    """Threads turn as often as their number says, modulo 5."""
    x, y = numbers()
    body = """
	rem.u32 %r5, %r1, 5; mov.u32 %r6, 0;
$L_loop: setp.eq.u32 %p1, %r5, 0; @%p1 bra $L_out;
	add.s32 %r6, %r6, 10; sub.s32 %r5, %r5, 1; bra.uni $L_loop;
$L_out: st.global.b32 [%d5], %r6;
"""
    run(body, x, y, order=order)
    assert torch.equal(y, x % 5 * 10)


def test_a_jump_by_index() -> None:
    x, y = numbers()
    body = """
	$L_t: .branchtargets $L_a, $L_b, $L_c;
	rem.u32 %r5, %r1, 3; brx.idx %r5, $L_t;
$L_a: mov.u32 %r6, 10; bra $L_z;
$L_b: mov.u32 %r6, 20; bra $L_z;
$L_c: mov.u32 %r6, 30;
$L_z: st.global.b32 [%d5], %r6;
"""
    run(body, x, y)
    assert torch.equal(y, x % 3 * 10 + 10)


def test_a_parameter_that_is_chosen() -> None:
    """A pointer to x or to y, by the thread's number; and what is no parameter."""
    x, y = numbers()
    body = """
	mov.b64 %d10, x; mov.b64 %d11, y; and.b32 %r5, %r1, 1; setp.eq.u32 %p1, %r5, 0;
	selp.b64 %d12, %d10, %d11, %p1; {} ld.param.b64 %d13, [%d12];
	add.s64 %d14, %d13, %d3; ld.global.b32 %r6, [%d14]; st.global.b32 [%d5], %r6;
"""
    run(body.format(""), x, y)
    assert torch.equal(y, torch.where(x % 2 == 0, x, -7))
    with pytest.raises(Fault, match="a parameter is read that is none"):
        run(body.format("add.s64 %d12, %d12, 4;"), x, y)


def words(values: Sequence[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.int32)


def test_copies_come_when_they_are_waited_for() -> None:
    """Two groups: of the first is sure what it brought while the second is under way."""
    x, y = numbers()
    body = """
	cp.async.ca.shared.global [%r3], [%d4], 4; cp.async.commit_group;
	cp.async.ca.shared.global [%r3+256], [%d4], 4, 0; cp.async.commit_group;
	cp.async.wait_group {}; bar.sync 0;
	ld.shared.b32 %r5, [%r4]; st.global.b32 [%d5], %r5; ld.shared.b32 %r6, [%r4+{}];
"""
    run(body.format(1, 0), x, y)
    assert torch.equal(y, x.roll(32))
    run(body.format(0, 256), x, y)
    for pending, offset in ((1, 256), (2, 0)):
        with pytest.raises(Fault, match="nothing was written to"):
            run(body.format(pending, offset), x, y)


def test_what_warps_exchange() -> None:
    x, y = numbers()
    body = """
	shfl.sync.bfly.b32 %r5, %r1, 3, 31, -1; shfl.sync.up.b32 %r6, %r1, 1, 0, -1;
	shfl.sync.idx.b32 %r7, %r1, 5, 31, -1; mov.u32 %r9, -1; redux.sync.add.s32 %r8, %r1, %r9;
	mul.lo.s32 %r5, %r5, 100; add.s32 %r5, %r5, %r6; mul.lo.s32 %r7, %r7, 10000;
	add.s32 %r5, %r5, %r7; add.s32 %r5, %r5, %r8; st.global.b32 [%d5], %r5;
"""
    run(body, x, y)
    lane, warp = x % 32, x // 32
    up = torch.where(lane > 0, x - 1, x)
    total = torch.where(warp == 0, sum(range(32)), sum(range(32, 64)))
    assert torch.equal(y, (x ^ 3) * 100 + up + (32 * warp + 5) * 10000 + total)


def traffic(body: str) -> Traffic:
    found = run(body, *numbers(1024)).launch.traffic
    assert found
    return found


def test_sectors_of_global_memory() -> None:
    """Two warps side by side ask for 8 of 32 bytes; each number in a sector of its own, for 64."""
    beside = traffic("ld.global.b32 %r5, [%d4];")
    assert (beside.asked, beside.sectors, beside.wanted) == (8, 8, 256)
    apart = traffic("mul.wide.u32 %d6, %r1, 32; add.s64 %d7, %d1, %d6; ld.global.b32 %r5, [%d7];")
    assert (apart.asked, apart.sectors, apart.wanted) == (64, 64, 256)
    again = traffic("ld.global.b32 %r5, [%d4]; ld.global.b32 %r6, [%d4]; ld.global.b32 %r7, [%d1];")
    assert (again.asked, again.sectors) == (18, 8)


@pytest.mark.parametrize(("step", "passes"), [(4, 2), (8, 4), (16, 8), (128, 64), (0, 2)])
def test_banks_of_shared_memory(step: int, passes: int) -> None:
    """Words of one bank come one after the other, and one word to all that want it at once."""
    found = traffic(f"mul.lo.u32 %r5, %r1, {step}; st.shared.b32 [%r5], 7;")
    assert (found.passes, found.fewest) == (passes, 2)


def test_vectors_of_shared_memory() -> None:
    """8 threads at a time, whose words fill the banks; 32 bytes apart every second is left out."""
    beside = traffic("shl.b32 %r5, %r1, 4; st.shared.v4.b32 [%r5], {1, 2, 3, 4};")
    assert (beside.passes, beside.fewest) == (8, 8)
    apart = traffic("shl.b32 %r5, %r1, 5; st.shared.v4.b32 [%r5], {1, 2, 3, 4};")
    assert (apart.passes, apart.fewest) == (16, 8)
