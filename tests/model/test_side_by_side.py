"""Bodies side by side on threads against all of them on one: the same results, whoever is faster."""

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from amanet.model import BlockConfig, Network, NetworkConfig, side_by_side, synchronise_statistics
from amanet.model.normalisation import BatchNorm
from amanet.model.sfem import SFEM
from amanet.model.threads import number_of_threads
from amanet.skeleton import load_layout

LAYOUT = load_layout("sbu15")
BLOCKS = {
    "amanet": BlockConfig(learn_weights=True),
    "ms-g3d": BlockConfig(spatial="ms_gcn", temporal="ms_tcn+ms_tcn", spatio_temporal="ms_g3d", spatial_scales=3, window_scales=2),
}
each_kind = pytest.mark.parametrize("kind", BLOCKS)


@pytest.fixture(autouse=True)
def _small_shares(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    monkeypatch.setattr(side_by_side, "LEAST_WORK", 1)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(before)


def make(kind: str = "amanet") -> Network:
    torch.manual_seed(0)
    network = Network(NetworkConfig(width=12, block=BLOCKS[kind]), LAYOUT, num_classes=5, num_bodies=2)
    for norm in network.modules():
        if isinstance(norm, BatchNorm):
            nn.init.normal_(norm.weight, 1.0, 0.3)
    return network


def draw(*, alone: int = 0) -> tuple[Tensor, Tensor]:
    """Three clips, so many of which hold one body alone."""
    joints = torch.randn(3, 2, 14, LAYOUT.num_joints, 3, generator=torch.Generator().manual_seed(1))
    joints[:alone, 1] = 0
    return joints, joints.any(-1)


def step(network: Network, threads: int, *, alone: int = 0) -> dict[str, Tensor]:
    """Logits, gradients and running statistics of a step on so many threads; of absent joints, rounding chooses among equal maxima."""
    torch.set_num_threads(threads)
    joints, present = draw(alone=alone)
    logits = network(joints.requires_grad_(), present)
    F.cross_entropy(logits, torch.arange(3)).backward()
    assert joints.grad is not None
    gradients = {f"of {name}": weight.grad for name, weight in network.named_parameters() if weight.grad is not None}
    return {"logits": logits.detach(), "of joints": joints.grad[present], **dict(network.named_buffers()), **gradients}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-9) -> None:
    assert found.keys() == expected.keys()
    for name, each in expected.items():
        torch.testing.assert_close(found[name], each, rtol=tolerance, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}")


@each_kind
@pytest.mark.parametrize("alone", [0, 2])
@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("recompute", [False, True])
def test_a_training_step_is_that_of_one_thread(kind: str, alone: int, threads: int, recompute: bool) -> None:
    alone_on_one, shared_out = make(kind), make(kind)
    shared_out.recompute = recompute
    assert_same(step(shared_out, threads, alone=alone), step(alone_on_one, 1, alone=alone))


@each_kind
def test_a_step_in_evaluation_is_that_of_one_thread(kind: str) -> None:
    assert_same(step(make(kind).eval(), 2), step(make(kind).eval(), 1))


@each_kind
def test_inference_is_that_of_one_thread(kind: str) -> None:
    network, logits = make(kind).eval(), list[Tensor]()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        with torch.inference_mode():
            logits.append(network(*draw(alone=1)))
    torch.testing.assert_close(logits[1:], logits[:1] * 2, rtol=1e-9, atol=1e-9)


def test_results_do_not_hang_on_who_is_faster() -> None:
    first = step(make(), 3)
    for _ in range(3):
        assert_same(step(make(), 3), first, tolerance=0)


def test_the_work_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[int]] = {}
    whole = Network._pool_together

    def watch(self: Network, features: Tensor, shared: object) -> Tensor:
        seen.setdefault(threading.current_thread().name, []).append(len(features))
        return whole(self, features, shared)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Network, "_pool_together", watch)
    step(make(), 3)
    assert list(seen.values()) == [[2]] * 3
    assert threading.current_thread().name not in seen


def test_threads_that_have_no_body_help_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(side_by_side, "MOST_THREADS", 2)
    seen: list[tuple[int, int]] = []
    whole = Network._pool_together

    def watch(self: Network, features: Tensor, shared: object) -> Tensor:
        seen.append((torch.get_num_threads(), number_of_threads()))
        return whole(self, features, shared)  # pyright: ignore[reportArgumentType]

    expected = step(make(), 1)
    monkeypatch.setattr(Network, "_pool_together", watch)
    assert_same(step(make(), 5), expected)
    assert seen == [(1, 2), (1, 2)]


def test_a_small_network_stays_together(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(2)
    features = torch.zeros(2, 3, LAYOUT.num_joints, 3)
    blocks = make().blocks
    assert side_by_side.pays(blocks, features)
    monkeypatch.setattr(side_by_side, "LEAST_WORK", 1e9)
    assert not side_by_side.pays(blocks, features)


def test_what_threads_do_not_inherit_stays_together() -> None:
    """PyTorch's mixed precision."""
    torch.set_num_threads(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not side_by_side.pays(make().blocks, torch.zeros(2, 3, LAYOUT.num_joints, 3))


def test_statistics_of_all_processes_are_those_of_all_bodies(processes: None) -> None:
    found: list[dict[str, Tensor]] = []
    for threads in (1, 2):
        network = make()
        synchronise_statistics(network, True)
        found.append(step(network, threads))
    assert_same(found[1], found[0])


def test_weights_that_do_not_learn_get_no_gradient() -> None:
    network, whole = make(), make()
    for each in (network, whole):
        each.blocks[1].requires_grad_(False)
    assert_same(step(network, 2), step(whole, 1))
    assert all(weight.grad is None for weight in network.blocks[1].parameters())


def test_who_counts_or_listens_sees_all_bodies() -> None:
    counts, heard = list[int](), list[int]()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        network = make().eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(*draw())
        counts.append(counter.get_total_flops())
        network.blocks[2].register_forward_hook(lambda _, inputs, __: heard.append(len(inputs[0])))
        network(*draw())
    assert counts[0] == counts[1] > 0
    assert heard == [6, 6]


def test_who_listens_to_all_modules_or_keeps_what_gradients_need_sees_all_bodies() -> None:
    torch.set_num_threads(2)
    network, heard, kept = make(), list[int](), list[int]()

    def hear(module: nn.Module, inputs: tuple[Tensor, ...], _: object) -> None:
        if module is network.blocks[2]:
            heard.append(len(inputs[0]))

    with nn.modules.module.register_module_forward_hook(hear):
        network(*draw())
    assert heard == [6]
    for threads in (1, 2):
        torch.set_num_threads(threads)
        tensors: list[Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda each, tensors=tensors: tensors.append(each) or each, lambda each: each):
            network(*draw())
        kept.append(len(tensors))
    assert kept[0] == kept[1] > 0


def test_who_profiles_or_overrides_functions_sees_all_of_them() -> None:
    class Count(TorchFunctionMode):
        calls = 0

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.calls += 1
            return func(*args, **(kwargs or {}))

    calls, events = list[int](), list[int]()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        network = make().eval()
        with torch.no_grad():
            network(*draw())  # which makes what is kept
            with Count() as counter:
                network(*draw())
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
                network(*draw())
        calls.append(counter.calls)
        events.append(sum(event.name == "amanet::multiplied" for event in profile.events() or ()))
    assert calls[0] == calls[1] > 0
    assert events[0] == events[1] > 0


def test_weights_that_are_computed_follow_one_step_alone() -> None:
    """As PyTorch's ``spectral_norm``, which iterates whenever the weight is read."""
    found: list[dict[str, Tensor]] = []
    for threads in (1, 2):
        network = make()
        spectral_norm(network.blocks[0].get_submodule("path.ff.project"))
        found.append(step(network, threads))
    assert_same(found[1], found[0])


@pytest.mark.parametrize("recompute", [False, True])
def test_a_graph_that_is_kept_gives_gradients_again(recompute: bool) -> None:
    """As for the gradient of one class after the other."""
    found: list[list[Tensor]] = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        network = make()
        network.recompute = recompute
        joints, present = draw()
        logits = network(joints.requires_grad_(), present)
        found.append([torch.autograd.grad(logits[:, label].sum(), joints, retain_graph=True)[0][present] for label in range(3)])
        torch.autograd.grad(logits.sum(), joints)
        with pytest.raises(RuntimeError, match="a second time"):
            torch.autograd.grad(logits.sum(), joints)
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-9)


def test_a_hook_of_a_weight_is_called_once() -> None:
    network = make()
    weight = network.blocks[1].get_parameter("path.ff.theta.weight")
    expected = step(make(), 1)["of blocks.1.path.ff.theta.weight"]
    weight.register_hook(lambda gradient: 2 * gradient)
    found = step(network, 2)["of blocks.1.path.ff.theta.weight"]
    torch.testing.assert_close(found, 2 * expected, rtol=1e-9, atol=1e-9)


def test_an_error_in_one_thread_reaches_the_caller_and_leaves_the_next_step_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Network._pool_together

    def fail(self: Network, features: Tensor, shared: object) -> Tensor:
        if torch.equal(features, last):
            raise MemoryError("no memory for this one")
        return whole(self, features, shared)  # pyright: ignore[reportArgumentType]

    network = make()
    torch.set_num_threads(2)
    last = network._enter(*draw())[0][3:]
    expected = step(make(), 2)
    with monkeypatch.context() as patch:
        patch.setattr(Network, "_pool_together", fail)
        with pytest.raises(MemoryError, match="no memory for this one"):
            network(*draw())
    assert_same(step(make(), 2), expected, tolerance=0)


@pytest.mark.timeout(60)
def test_trainings_beside_each_other_do_not_wait_for_each_other() -> None:
    """Each from a thread of its own, which share the threads of the bodies."""
    expected = step(make(), 2)
    found: list[dict[str, Tensor]] = []

    def train() -> None:
        torch.set_num_threads(2)
        network = make()
        for _ in range(3):
            network.zero_grad()
            network(*draw()).sum().backward()
        found.append(step(make(), 2))

    threads = [threading.Thread(target=train) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in found:
        assert_same(each, expected, tolerance=0)
    assert len(found) == len(threads)


def test_threads_made_later_have_pytorchs_number() -> None:
    step(make(), 3)
    found: list[int] = [torch.get_num_threads()]
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert found == [3, 3]


def test_fewer_threads_at_the_gradient_than_before_it() -> None:
    found = step(make(), 1)
    network = make()
    torch.set_num_threads(3)
    joints, present = draw()
    logits = network(joints.requires_grad_(), present)
    torch.set_num_threads(1)
    F.cross_entropy(logits, torch.arange(3)).backward()
    torch.testing.assert_close(joints.grad[present], found["of joints"], rtol=1e-9, atol=1e-9)  # pyright: ignore[reportOptionalSubscript]


def test_gradients_reach_what_is_no_weight() -> None:
    """A buffer, and somebody else's tensor in the place of a weight."""
    found: list[Tensor] = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        network, alpha = make(), torch.tensor(0.8, requires_grad=True)
        first, second, *_ = (module for module in network.modules() if isinstance(module, SFEM))
        first.graph.requires_grad_()
        del second.weight
        vars(second)["weight"] = alpha
        network(*draw()).square().sum().backward()
        assert first.graph.grad is not None
        assert alpha.grad is not None
        found.append(torch.cat([first.graph.grad.flatten(), alpha.grad[None]]))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("alone", [0, 2])
def test_blocks_that_are_compiled_by_themselves_see_all_bodies(alone: int) -> None:
    code = f"""
import torch
from amanet.model import Network, NetworkConfig, side_by_side
from amanet.skeleton import load_layout
side_by_side.LEAST_WORK = 1
torch.set_num_threads(2)
torch.set_default_dtype(torch.float64)
joints = torch.randn(3, 2, 14, 15, 3)
joints[:{alone}, 1] = 0
found = []
for compiles in (False, True):
    torch.manual_seed(0)
    network = Network(NetworkConfig(width=12), load_layout("sbu15"), num_classes=5, num_bodies=2)
    if compiles:
        for block in network.blocks:
            block.compile(backend="eager")
    found.append([network(joints, joints.any(-1)), *network.buffers()])
for one, other in zip(*found, strict=True):
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
network.recompute = True
try:
    network(joints)
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "cannot be computed again" in done.stdout


def test_an_interrupt_while_work_is_handed_out_leaves_the_next_step_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = step(make(), 2)
    submit: Any = ThreadPoolExecutor.submit
    handed = list[Future[object]]()

    def interrupted(pool: ThreadPoolExecutor, *work: object) -> Future[object]:
        if handed:
            raise KeyboardInterrupt
        handed.append(submit(pool, *work))
        return handed[0]

    with monkeypatch.context() as patch:
        patch.setattr(ThreadPoolExecutor, "submit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            step(make(), 2)
    assert isinstance(handed[0].exception(timeout=60), threading.BrokenBarrierError)
    assert_same(step(make(), 2), expected)


def test_an_error_keeps_no_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Tensor]] = []
    pool_together = Network._pool_together

    def fail(network: Network, *inputs: Any) -> Tensor:
        output = pool_together(network, *inputs)
        made.append(weakref.ref(output))
        raise MemoryError

    monkeypatch.setattr(Network, "_pool_together", fail)
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(MemoryError):
            step(make(), 2)
        assert made
        assert not any(each() is not None for each in made)
    finally:
        gc.enable()
