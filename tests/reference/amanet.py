"""AMANet as its equations are written: (clip body, channel, frame, joint), a convolution for each linear map, windows unfolded.

It reads the weights of one of our networks and shares nothing else with it, so that outputs and gradients can be compared and times too.
Data preprocessing and streams are ours; `reference.equations` has them as loops.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amanet.model import Network
from amanet.model.block import Block
from amanet.model.normalisation import BatchNorm
from amanet.model.sfem import SFEM
from amanet.model.stfem import STFEM
from amanet.model.temporal_conv import DILATIONS, MSTCN
from amanet.model.tfem import FrameFeatures, JointFeatures


def conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1) -> Tensor:
    """A 1x1 convolution."""
    return F.conv2d(x, weight[:, :, None, None], bias, stride=(stride, 1))


def norm(x: Tensor, bn: BatchNorm) -> Tensor:
    return F.batch_norm(x, bn.running_mean, bn.running_var, bn.weight, bn.bias, bn.training, eps=bn.eps)


def maps(x: Tensor, linear: nn.Linear, widths: list[int]) -> list[Tensor]:
    """Q, K and V, a convolution each."""
    weights, biases = linear.weight.split(widths), linear.bias.split(widths)
    return [conv(x, weight, bias) for weight, bias in zip(weights, biases, strict=True)]


def attention(query: Tensor, key: Tensor, value: Tensor, graph: Tensor | float = 0.0) -> Tensor:
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1]) + graph
    return torch.softmax(scores, dim=-1) @ value


def sfem(module: SFEM, x: Tensor) -> Tensor:
    """Eq. 10."""
    query, key, value = maps(x, module.project, module.widths)
    by_frame = query.permute(0, 2, 3, 1), key.permute(0, 2, 3, 1), value.permute(0, 2, 3, 1)
    mixed = attention(*by_frame, module.weight * module.graph).permute(0, 3, 1, 2)
    return F.relu(norm(conv(mixed, module.theta.weight), module.norm) + value)


def frame_features(module: FrameFeatures, x: Tensor) -> Tensor:
    """Eq. 12, for frames that the group divides."""
    bodies, channels, frames, joints = x.shape
    groups = [
        each.permute(0, 2, 3, 1).reshape(bodies, frames // module.group, module.group, joints * channels)
        for each in maps(x, module.project, [channels] * 3)
    ]
    mixed = attention(*groups).reshape(bodies, frames, joints, channels).permute(0, 3, 1, 2)
    mixed = F.pad(mixed, (0, 0, (module.group - 1) // 2, module.group // 2))
    return F.relu(norm(F.conv2d(mixed, module.theta.weight), module.norm) + x)


def joint_features(module: JointFeatures, x: Tensor) -> Tensor:
    """Eq. 11."""
    (query,) = maps(x, module.query, [x.shape[1]])
    key, value = maps(x, module.memory, [x.shape[1]] * 2)
    mixed = attention(*(each.permute(0, 3, 2, 1) for each in (query, key, value))).permute(0, 3, 2, 1)
    output = norm(conv(mixed, module.theta.weight, stride=module.stride), module.norm)
    residual = x
    if isinstance(module.residual, nn.Sequential):
        linear, bn = module.residual
        assert isinstance(linear, nn.Linear)
        assert isinstance(bn, BatchNorm)
        residual = norm(conv(x, linear.weight, linear.bias, module.stride), bn)
    return F.relu(output + residual)


def stfem(module: STFEM, x: Tensor) -> Tensor:
    """Eq. 14 and the convolution that collapses the windows."""
    joints, window = x.shape[3], module.window
    tokens = []
    for each in maps(x, module.project, module.widths):
        columns = F.unfold(F.pad(each, (0, 0, 0, window - 1)), (window, 1), stride=(module.stride, 1))
        split = columns.view(len(x), each.shape[1], window, -1, joints)
        tokens.append(split.permute(0, 3, 2, 4, 1).reshape(len(x), -1, window * joints, each.shape[1]))
    query, key, value = tokens
    mixed = attention(query, key, value, module.weight * module.graph).permute(0, 3, 1, 2)
    value = value.permute(0, 3, 1, 2)
    output = F.relu(norm(conv(mixed, module.theta.weight), module.norm) + value)
    windows = output.unflatten(3, (window, joints)).flatten(2, 3)
    return norm(F.conv2d(windows, module.collapse.weight, stride=(window, 1)), module.collapse_norm)


def ms_tcn(module: MSTCN, x: Tensor) -> Tensor:
    branch = module.skip.out_features
    weights, biases = module.enter.weight.split(branch), module.enter.bias.split(branch)
    enter, leave = module.enter_norm, module.leave_norm
    branches = []
    for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        part = F.relu(norm_part(conv(x, weight, bias), enter, index, branch))
        if index < len(DILATIONS):
            part = module.dilated[index](part)
        else:
            part = F.max_pool2d(part, (3, 1), stride=(module.stride, 1), padding=(1, 0))
        branches.append(norm_part(part, leave, index, branch))
    last = conv(x, module.skip.weight, module.skip.bias, module.stride)
    branches.append(norm_part(last, leave, len(weights), branch))
    residual = x
    if isinstance(module.residual, nn.Sequential):
        linear, bn = module.residual
        assert isinstance(linear, nn.Linear)
        assert isinstance(bn, BatchNorm)
        residual = norm(conv(x, linear.weight, linear.bias, module.stride), bn)
    output = torch.cat(branches, dim=1) + residual
    return F.relu(output) if module.activate else output


def norm_part(x: Tensor, bn: BatchNorm, index: int, branch: int) -> Tensor:
    """BN of one branch, whose channels are a part of ours."""
    assert bn.running_mean is not None
    assert bn.running_var is not None
    part = slice(index * branch, (index + 1) * branch)
    return F.batch_norm(x, bn.running_mean[part], bn.running_var[part], bn.weight[part], bn.bias[part], bn.training, eps=bn.eps)


def block(module: Block, x: Tensor) -> Tensor:
    path = x
    for part in module.path:
        path = run(part, path)
    windows = [stfem(each, x) for each in module.windows.modules() if isinstance(each, STFEM)]
    return run(module.tail, F.relu(path + sum(windows)))


def run(module: nn.Module, x: Tensor) -> Tensor:
    match module:
        case SFEM():
            return sfem(module, x)
        case FrameFeatures():
            return frame_features(module, x)
        case JointFeatures():
            return joint_features(module, x)
        case MSTCN():
            return ms_tcn(module, x)
    raise TypeError(type(module))


def literal_amanet(network: Network, joints: Tensor) -> Tensor:
    """Logits of AMANet with the weights of ``network``, whose configuration is the paper's."""
    clips, bodies = joints.shape[:2]
    present = torch.ones(joints.shape[:-1], dtype=torch.bool, device=joints.device)
    derived = network.dp(joints, present)  # clip, body, frame, joint, channel
    columns = derived.permute(0, 1, 3, 4, 2).flatten(1, 3)
    bn = network.data_norm.norm
    columns = F.batch_norm(columns, bn.running_mean, bn.running_var, bn.weight, bn.bias, bn.training, eps=bn.eps)
    x = columns.unflatten(1, (bodies, derived.shape[3], derived.shape[4])).permute(0, 1, 3, 4, 2).flatten(0, 1).contiguous()
    for part in network.blocks:
        assert isinstance(part, Block)
        x = block(part, x)
    return network.classifier(x.mean((2, 3)).view(clips, bodies, -1).mean(1))
