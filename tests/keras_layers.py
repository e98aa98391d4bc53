"""Every public Keras layer as a small model: what it is built with and what it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

L = keras.layers


@dataclass(frozen=True)
class Case:
    """One small model around one layer.

    ``shapes`` are per-sample input shapes; ``levels`` makes integer inputs ``0 .. levels - 1``;
    ``call`` says how the layer is called on the symbolic inputs.
    """

    make: Callable[[], Any]
    shapes: tuple[tuple[int, ...], ...]
    levels: int | None = None
    call: Callable[[Any, list[Any]], Any] | None = None


def one(make: Callable[[], Any], *shape: int, **options: Any) -> Case:
    return Case(make, (shape,), **options)


def merged(kind: Any, count: int = 2, **settings: Any) -> Case:
    return Case(lambda: kind(**settings), ((4, 3),) * count, call=lambda layer, xs: layer(xs))


def attention(make: Callable[[], Any], *shapes: tuple[int, ...], **options: Any) -> Case:
    return Case(make, shapes, call=lambda layer, xs: layer(xs, **options))


def masked(make: Callable[[], Any], *shape: int) -> Case:
    return Case(make, (shape,), call=lambda layer, xs: layer(L.Masking(0.0)(xs[0])))


def cell(kind: Any) -> Case:
    return Case(lambda: L.RNN(kind(3)), ((4, 2),))


def adapted() -> Any:
    layer = L.Normalization()
    layer.adapt(np.random.default_rng(0).normal(2.0, 3.0, size=(50, 4)).astype("float32"))
    return layer


CASES: dict[str, list[Case]] = {
    "Activation": [
        one(lambda name=name: L.Activation(name), 7)
        for name in (
            "relu",
            "leaky_relu",
            "relu6",
            "softmax",
            "celu",
            "elu",
            "selu",
            "softplus",
            "softsign",
            "squareplus",
            "soft_shrink",
            "sparse_plus",
            "silu",
            "gelu",
            "glu",
            "tanh",
            "tanh_shrink",
            "sigmoid",
            "sparse_sigmoid",
            "exponential",
            "hard_sigmoid",
            "hard_silu",
            "hard_tanh",
            "hard_shrink",
            "linear",
            "mish",
            "log_softmax",
            "log_sigmoid",
            "threshold",
        )
        if name not in {"glu", "threshold"}
    ]
    + [one(lambda: L.Activation("glu"), 6)]
    + [one(lambda: L.Activation(lambda x: keras.activations.threshold(x, 0.3, -0.5)), 6)]
    + [one(lambda: L.Activation(lambda x: keras.activations.gelu(x, approximate=True)), 6)],
    "ActivityRegularization": [one(lambda: L.ActivityRegularization(0.1), 4)],
    "AdaptiveAveragePooling1D": [one(lambda: L.AdaptiveAveragePooling1D(3), 8, 2)],
    "AdaptiveAveragePooling2D": [one(lambda: L.AdaptiveAveragePooling2D((3, 2)), 7, 5, 2)],
    "AdaptiveAveragePooling3D": [one(lambda: L.AdaptiveAveragePooling3D(2), 4, 5, 3, 2)],
    "AdaptiveMaxPooling1D": [one(lambda: L.AdaptiveMaxPooling1D(3), 8, 2)],
    "AdaptiveMaxPooling2D": [one(lambda: L.AdaptiveMaxPooling2D((3, 2)), 7, 5, 2)],
    "AdaptiveMaxPooling3D": [one(lambda: L.AdaptiveMaxPooling3D(2), 4, 5, 3, 2)],
    "Add": [merged(L.Add), merged(L.Add, 3)],
    "AdditiveAttention": [
        attention(L.AdditiveAttention, (4, 3), (5, 3)),
        attention(L.AdditiveAttention, (4, 3), (5, 3), (5, 3)),
    ],
    "AlphaDropout": [one(lambda: L.AlphaDropout(0.3), 4)],
    "Attention": [
        attention(L.Attention, (4, 3), (5, 3)),
        attention(lambda: L.Attention(use_scale=True), (4, 3), (5, 3), (5, 3)),
        attention(lambda: L.Attention(score_mode="concat"), (4, 3), (5, 3)),
        attention(L.Attention, (4, 3), (4, 3), use_causal_mask=True),
    ],
    "AugMix": [one(L.AugMix, 6, 6, 3)],
    "AutoContrast": [one(L.AutoContrast, 6, 6, 3)],
    "Average": [merged(L.Average, 3)],
    "AveragePooling1D": [
        one(lambda: L.AveragePooling1D(2), 7, 2),
        one(lambda: L.AveragePooling1D(3, strides=1, padding="same"), 7, 2),
    ],
    "AveragePooling2D": [
        one(lambda: L.AveragePooling2D(2), 6, 5, 2),
        one(lambda: L.AveragePooling2D(3, strides=2, padding="same"), 6, 5, 2),
    ],
    "AveragePooling3D": [one(lambda: L.AveragePooling3D(2, padding="same"), 4, 5, 3, 2)],
    "BatchNormalization": [
        one(L.BatchNormalization, 4),
        one(L.BatchNormalization, 5, 5, 3),
        one(lambda: L.BatchNormalization(axis=1, center=False), 3, 5),
        one(lambda: L.BatchNormalization(scale=False, epsilon=0.1), 3, 5),
        masked(L.BatchNormalization, 4, 3),
    ],
    "Bidirectional": [
        one(lambda: L.Bidirectional(L.LSTM(3)), 5, 2),
        one(lambda: L.Bidirectional(L.GRU(3, return_sequences=True), merge_mode="sum"), 5, 2),
        one(lambda: L.Bidirectional(L.SimpleRNN(3), merge_mode="mul"), 5, 2),
        one(lambda: L.Bidirectional(L.SimpleRNN(3), merge_mode=None), 5, 2),
        one(lambda: L.Bidirectional(L.LSTM(3), backward_layer=L.GRU(3, go_backwards=True)), 5, 2),
        masked(lambda: L.Bidirectional(L.LSTM(3)), 5, 2),
    ],
    "CategoryEncoding": [
        one(lambda: L.CategoryEncoding(5, output_mode="one_hot"), 3, levels=5),
        one(lambda: L.CategoryEncoding(5, output_mode="one_hot"), 1, levels=5),
        one(lambda: L.CategoryEncoding(5, output_mode="multi_hot"), 3, levels=5),
        one(lambda: L.CategoryEncoding(5, output_mode="count"), 3, levels=5),
    ],
    "CenterCrop": [one(lambda: L.CenterCrop(3, 4), 7, 6, 2)],
    "Concatenate": [merged(L.Concatenate), merged(L.Concatenate, axis=1)],
    "ContrastLimitedAdaptiveHistogramEqualization": [
        one(lambda: L.ContrastLimitedAdaptiveHistogramEqualization(), 8, 8, 3)
    ],
    "Conv1D": [
        one(lambda: L.Conv1D(3, 3, activation="relu"), 8, 2),
        one(lambda: L.Conv1D(3, 3, padding="causal", dilation_rate=2), 8, 2),
        one(lambda: L.Conv1D(4, 2, strides=2, padding="same", groups=2, use_bias=False), 7, 4),
    ],
    "Conv1DTranspose": [
        one(lambda: L.Conv1DTranspose(3, 3), 5, 2),
        one(lambda: L.Conv1DTranspose(3, 4, strides=2, padding="same"), 5, 2),
        one(lambda: L.Conv1DTranspose(3, 2, strides=3), 5, 2),
    ],
    "Conv2D": [
        one(lambda: L.Conv2D(3, 3), 6, 5, 2),
        one(lambda: L.Conv2D(3, (3, 2), strides=2, padding="same"), 7, 6, 2),
        one(lambda: L.Conv2D(4, 3, dilation_rate=2, groups=2), 7, 6, 4),
    ],
    "Conv2DTranspose": [
        one(lambda: L.Conv2DTranspose(3, 3, strides=2, padding="same"), 4, 3, 2),
        one(lambda: L.Conv2DTranspose(3, (2, 3), strides=(2, 1)), 4, 3, 2),
        one(lambda: L.Conv2DTranspose(3, 3, dilation_rate=2), 4, 3, 2),
    ],
    "Conv3D": [one(lambda: L.Conv3D(2, 2, padding="same", strides=2), 4, 5, 3, 2)],
    "Conv3DTranspose": [one(lambda: L.Conv3DTranspose(2, 2, strides=2), 2, 3, 2, 2)],
    "ConvLSTM1D": [one(lambda: L.ConvLSTM1D(2, 3, padding="same"), 3, 5, 2)],
    "ConvLSTM2D": [
        one(lambda: L.ConvLSTM2D(2, 2), 3, 4, 4, 1),
        one(lambda: L.ConvLSTM2D(2, 2, return_sequences=True, padding="same"), 3, 4, 3, 1),
    ],
    "ConvLSTM3D": [one(lambda: L.ConvLSTM3D(1, 2), 2, 3, 3, 2, 1)],
    "Cropping1D": [one(lambda: L.Cropping1D((1, 2)), 6, 2)],
    "Cropping2D": [one(lambda: L.Cropping2D(((1, 0), (2, 1))), 6, 5, 2)],
    "Cropping3D": [one(lambda: L.Cropping3D(1), 4, 5, 3, 2)],
    "CutMix": [one(L.CutMix, 6, 6, 3)],
    "Dense": [
        one(lambda: L.Dense(3), 4),
        one(lambda: L.Dense(3, activation="softmax", use_bias=False), 5, 4),
        one(lambda: L.Dense(3, lora_rank=2), 4),
    ],
    "DepthwiseConv1D": [one(lambda: L.DepthwiseConv1D(3, depth_multiplier=2), 8, 3)],
    "DepthwiseConv2D": [
        one(lambda: L.DepthwiseConv2D(3, depth_multiplier=2, padding="same"), 6, 5, 3),
        one(lambda: L.DepthwiseConv2D(3, strides=2), 7, 7, 3),
    ],
    "Discretization": [
        one(lambda: L.Discretization([-0.5, 0.0, 0.7]), 4),
        one(lambda: L.Discretization([-0.5, 0.0, 0.7], output_mode="one_hot"), 1),
        one(lambda: L.Discretization([-0.5, 0.0, 0.7], output_mode="count"), 4),
    ],
    "Dot": [
        merged(L.Dot, axes=2),
        merged(L.Dot, axes=1, normalize=True),
        Case(lambda: L.Dot(axes=(2, 1)), ((4, 3), (3, 5)), call=lambda layer, xs: layer(xs)),
    ],
    "Dropout": [one(lambda: L.Dropout(0.5), 4)],
    "ELU": [one(lambda: L.ELU(0.7), 4)],
    "EinsumDense": [
        one(lambda: L.EinsumDense("ab,bc->ac", output_shape=3, bias_axes="c"), 4),
        one(
            lambda: L.EinsumDense("abc,cde->abde", output_shape=(None, 2, 3), bias_axes="de"), 5, 4
        ),
        one(lambda: L.EinsumDense("...x,xy->...y", output_shape=3, bias_axes="y"), 5, 4),
    ],
    "Embedding": [
        one(lambda: L.Embedding(6, 3), 5, levels=6),
        one(lambda: L.Embedding(6, 3, mask_zero=True), 5, levels=6),
    ],
    "Equalization": [one(L.Equalization, 8, 8, 3)],
    "Flatten": [one(L.Flatten, 3, 4), one(lambda: L.Flatten("channels_first"), 3, 4, 2)],
    "GRU": [
        one(lambda: L.GRU(3), 5, 2),
        one(lambda: L.GRU(3, reset_after=False, go_backwards=True, return_sequences=True), 5, 2),
        masked(lambda: L.GRU(3), 5, 2),
    ],
    "GRUCell": [cell(L.GRUCell)],
    "GaussianDropout": [one(lambda: L.GaussianDropout(0.3), 4)],
    "GaussianNoise": [one(lambda: L.GaussianNoise(0.3), 4)],
    "GlobalAveragePooling1D": [
        one(L.GlobalAveragePooling1D, 5, 3),
        masked(L.GlobalAveragePooling1D, 5, 3),
    ],
    "GlobalAveragePooling2D": [one(lambda: L.GlobalAveragePooling2D(keepdims=True), 5, 4, 3)],
    "GlobalAveragePooling3D": [one(L.GlobalAveragePooling3D, 3, 4, 2, 3)],
    "GlobalMaxPooling1D": [one(L.GlobalMaxPooling1D, 5, 3)],
    "GlobalMaxPooling2D": [one(L.GlobalMaxPooling2D, 5, 4, 3)],
    "GlobalMaxPooling3D": [one(L.GlobalMaxPooling3D, 3, 4, 2, 3)],
    "GroupNormalization": [
        one(lambda: L.GroupNormalization(2), 5, 4),
        one(lambda: L.GroupNormalization(-1), 5, 5, 4),
        one(lambda: L.GroupNormalization(3, axis=1), 6, 4),
    ],
    "GroupQueryAttention": [
        Case(
            lambda: L.GroupQueryAttention(3, 4, 2),
            ((4, 3), (5, 3)),
            call=lambda layer, xs: layer(xs[0], xs[1]),
        )
    ],
    "HashedCrossing": [
        Case(lambda: L.HashedCrossing(5), ((1,), (1,)), 5, lambda layer, xs: layer(xs))
    ],
    "Hashing": [one(lambda: L.Hashing(5), 3, levels=9)],
    "Identity": [one(L.Identity, 4)],
    "InputLayer": [one(L.Identity, 4)],
    "IntegerLookup": [one(lambda: L.IntegerLookup(vocabulary=[3, 1, 2]), 3, levels=5)],
    "LSTM": [
        one(lambda: L.LSTM(3), 5, 2),
        one(lambda: L.LSTM(3, return_sequences=True, return_state=True), 5, 2),
        one(lambda: L.LSTM(3, go_backwards=True, recurrent_activation="hard_sigmoid"), 5, 2),
        masked(lambda: L.LSTM(3, return_sequences=True), 5, 2),
        Case(
            lambda: L.LSTM(3),
            ((5, 2), (3,), (3,)),
            call=lambda layer, xs: layer(xs[0], initial_state=xs[1:]),
        ),
    ],
    "LSTMCell": [cell(L.LSTMCell)],
    "Lambda": [one(lambda: L.Lambda(lambda x: keras.ops.square(x) + 1.0), 4)],
    "LayerNormalization": [
        one(L.LayerNormalization, 5, 4),
        one(lambda: L.LayerNormalization(axis=[1, 2], epsilon=0.01), 5, 4),
        one(lambda: L.LayerNormalization(axis=1, center=False), 5, 4),
    ],
    "LeakyReLU": [one(lambda: L.LeakyReLU(0.2), 4)],
    "Masking": [one(lambda: L.Masking(0.0), 5, 3)],
    "MaxNumBoundingBoxes": [one(lambda: L.MaxNumBoundingBoxes(2), 6, 6, 3)],
    "MaxPooling1D": [
        one(lambda: L.MaxPooling1D(2), 7, 2),
        one(lambda: L.MaxPooling1D(3, strides=2, padding="same"), 7, 2),
    ],
    "MaxPooling2D": [
        one(lambda: L.MaxPooling2D(2), 6, 5, 2),
        one(lambda: L.MaxPooling2D((3, 2), strides=2, padding="same"), 6, 5, 2),
    ],
    "MaxPooling3D": [one(lambda: L.MaxPooling3D(2), 4, 5, 3, 2)],
    "Maximum": [merged(L.Maximum, 3)],
    "MelSpectrogram": [one(lambda: L.MelSpectrogram(fft_length=8, num_mel_bins=4), 32)],
    "Minimum": [merged(L.Minimum)],
    "MixUp": [one(L.MixUp, 6, 6, 3)],
    "MultiHeadAttention": [
        Case(
            lambda: L.MultiHeadAttention(2, 3),
            ((4, 5),),
            call=lambda layer, xs: layer(xs[0], xs[0]),
        ),
        Case(
            lambda: L.MultiHeadAttention(2, 3, value_dim=2, output_shape=4),
            ((4, 5), (6, 3)),
            call=lambda layer, xs: layer(xs[0], xs[1]),
        ),
        Case(
            lambda: L.MultiHeadAttention(2, 3),
            ((4, 5),),
            call=lambda layer, xs: layer(xs[0], xs[0], use_causal_mask=True),
        ),
        Case(
            lambda: L.MultiHeadAttention(2, 3),
            ((4, 5),),
            call=lambda layer, xs: layer(xs[0], xs[0], return_attention_scores=True),
        ),
        Case(
            lambda: L.MultiHeadAttention(2, 3),
            ((4,),),
            6,
            lambda layer, xs: layer(*(L.Embedding(6, 5, mask_zero=True)(xs[0]),) * 2),
        ),
    ],
    "Multiply": [merged(L.Multiply), merged(L.Multiply, 3)],
    "Normalization": [
        one(adapted, 4),
        one(lambda: L.Normalization(mean=[1.0, 2.0], variance=[4.0, 0.0]), 2),
        one(lambda: L.Normalization(mean=3.0, variance=2.0, invert=True), 3),
    ],
    "PReLU": [one(L.PReLU, 4), one(lambda: L.PReLU(shared_axes=[1]), 5, 3)],
    "Permute": [one(lambda: L.Permute((2, 3, 1)), 4, 3, 2)],
    "Pipeline": [one(lambda: L.Pipeline([L.Rescaling(0.5), L.CenterCrop(3, 3)]), 5, 5, 2)],
    "RMSNormalization": [one(L.RMSNormalization, 5, 4)],
    "RNN": [
        one(lambda: L.RNN([L.LSTMCell(3), L.GRUCell(2)], return_sequences=True), 4, 2),
        masked(
            lambda: L.RNN(L.SimpleRNNCell(3), zero_output_for_mask=True, return_sequences=True),
            4,
            2,
        ),
    ],
    "RandAugment": [one(L.RandAugment, 6, 6, 3)],
    "RandomBrightness": [one(lambda: L.RandomBrightness(0.2), 6, 6, 3)],
    "RandomColorDegeneration": [one(lambda: L.RandomColorDegeneration(0.2), 6, 6, 3)],
    "RandomColorJitter": [one(lambda: L.RandomColorJitter(brightness_factor=0.2), 6, 6, 3)],
    "RandomContrast": [one(lambda: L.RandomContrast(0.2), 6, 6, 3)],
    "RandomCrop": [one(lambda: L.RandomCrop(3, 3), 6, 6, 3)],
    "RandomElasticTransform": [one(L.RandomElasticTransform, 6, 6, 3)],
    "RandomErasing": [one(L.RandomErasing, 6, 6, 3)],
    "RandomFlip": [one(L.RandomFlip, 6, 6, 3)],
    "RandomGaussianBlur": [one(L.RandomGaussianBlur, 6, 6, 3)],
    "RandomGrayscale": [one(L.RandomGrayscale, 6, 6, 3)],
    "RandomHue": [one(lambda: L.RandomHue(0.2), 6, 6, 3)],
    "RandomInvert": [one(L.RandomInvert, 6, 6, 3)],
    "RandomPerspective": [one(L.RandomPerspective, 6, 6, 3)],
    "RandomPosterization": [one(lambda: L.RandomPosterization(4), 6, 6, 3)],
    "RandomRotation": [one(lambda: L.RandomRotation(0.2), 6, 6, 3)],
    "RandomSaturation": [one(lambda: L.RandomSaturation(0.2), 6, 6, 3)],
    "RandomSharpness": [one(lambda: L.RandomSharpness(0.2), 6, 6, 3)],
    "RandomShear": [one(lambda: L.RandomShear(0.2), 6, 6, 3)],
    "RandomTranslation": [one(lambda: L.RandomTranslation(0.2, 0.2), 6, 6, 3)],
    "RandomZoom": [one(lambda: L.RandomZoom(0.2), 6, 6, 3)],
    "ReLU": [
        one(L.ReLU, 5),
        one(lambda: L.ReLU(max_value=0.8), 5),
        one(lambda: L.ReLU(negative_slope=0.2, max_value=0.8), 5),
        one(lambda: L.ReLU(threshold=0.3), 5),
        one(lambda: L.ReLU(negative_slope=0.1, threshold=0.3, max_value=0.6), 5),
    ],
    "RepeatVector": [one(lambda: L.RepeatVector(3), 4)],
    "Rescaling": [
        one(lambda: L.Rescaling(1 / 255.0, offset=-0.5), 4),
        one(lambda: L.Rescaling([1.0, 2.0, 3.0], offset=[0.0, 1.0, 2.0]), 4, 4, 3),
    ],
    "Reshape": [one(lambda: L.Reshape((3, -1)), 4, 3)],
    "Resizing": [
        one(lambda: L.Resizing(4, 5), 7, 6, 2),
        one(lambda: L.Resizing(9, 8, interpolation="nearest"), 6, 5, 2),
    ],
    "ReversibleEmbedding": [
        one(lambda: L.ReversibleEmbedding(6, 3), 5, levels=6),
        Case(
            lambda: L.ReversibleEmbedding(6, 3),
            ((5,),),
            6,
            lambda layer, xs: layer(layer(xs[0]), reverse=True),
        ),
    ],
    "STFTSpectrogram": [
        one(
            lambda: L.STFTSpectrogram(mode="magnitude", frame_length=8, frame_step=4, fft_length=8),
            32,
            1,
        ),
        one(
            lambda: L.STFTSpectrogram(mode="real", frame_length=8, frame_step=4, fft_length=8),
            32,
            1,
        ),
    ],
    "SeparableConv1D": [one(lambda: L.SeparableConv1D(3, 3, depth_multiplier=2), 8, 2)],
    "SeparableConv2D": [
        one(lambda: L.SeparableConv2D(3, 3, padding="same", strides=2, activation="relu"), 6, 5, 2)
    ],
    "SimpleRNN": [
        one(lambda: L.SimpleRNN(3), 5, 2),
        one(lambda: L.SimpleRNN(3, activation="relu", unroll=True, return_sequences=True), 5, 2),
    ],
    "SimpleRNNCell": [cell(L.SimpleRNNCell)],
    "Softmax": [
        one(L.Softmax, 5),
        one(lambda: L.Softmax(axis=1), 5, 3),
        one(lambda: L.Softmax(axis=[1, 2]), 5, 3),
        Case(L.Softmax, ((5,), (5,)), call=lambda layer, xs: layer(xs[0], mask=xs[1] > 0)),
    ],
    "Solarization": [one(L.Solarization, 6, 6, 3)],
    "SpatialDropout1D": [one(lambda: L.SpatialDropout1D(0.3), 5, 4)],
    "SpatialDropout2D": [one(lambda: L.SpatialDropout2D(0.3), 5, 4, 2)],
    "SpatialDropout3D": [one(lambda: L.SpatialDropout3D(0.3), 5, 4, 2, 2)],
    "SpectralNormalization": [one(lambda: L.SpectralNormalization(L.Dense(3)), 4)],
    "StackedRNNCells": [
        one(lambda: L.RNN(L.StackedRNNCells([L.LSTMCell(3), L.LSTMCell(2)])), 4, 2)
    ],
    "StringLookup": [],
    "Subtract": [merged(L.Subtract)],
    "TextVectorization": [],
    "TimeDistributed": [
        one(lambda: L.TimeDistributed(L.Dense(3)), 4, 5),
        one(lambda: L.TimeDistributed(L.Conv2D(2, 2)), 3, 5, 5, 1),
        masked(lambda: L.TimeDistributed(L.Dense(3)), 4, 5),
    ],
    "UnitNormalization": [one(L.UnitNormalization, 5, 4)],
    "UpSampling1D": [one(lambda: L.UpSampling1D(3), 4, 2)],
    "UpSampling2D": [
        one(lambda: L.UpSampling2D((2, 3)), 4, 3, 2),
        one(lambda: L.UpSampling2D(2, interpolation="bilinear"), 4, 3, 2),
        one(lambda: L.UpSampling2D(2, data_format="channels_first"), 2, 4, 3),
    ],
    "UpSampling3D": [one(lambda: L.UpSampling3D(2), 2, 3, 2, 2)],
    "Wrapper": [],
    "ZeroPadding1D": [one(lambda: L.ZeroPadding1D((1, 2)), 4, 2)],
    "ZeroPadding2D": [one(lambda: L.ZeroPadding2D(((1, 0), (2, 1))), 4, 3, 2)],
    "ZeroPadding3D": [one(lambda: L.ZeroPadding3D(1), 2, 3, 2, 2)],
}

ALIASES = {
    name
    for name in dir(L)
    if isinstance(getattr(L, name), type) and getattr(L, name).__name__ != name
}
# Abstract, or no layer that holds a function of numbers by itself.
NOT_LAYERS = {"Layer", "InputSpec", "Wrapper", "FlaxLayer", "JaxLayer", "TFSMLayer",
              "TorchModuleWrapper"}  # fmt: skip


def build(case: Case) -> Any:
    """Return the model of a case, with every weight random."""
    kind = "int32" if case.levels else None
    inputs = [keras.Input(shape, dtype=kind) for shape in case.shapes]
    layer = case.make()
    outputs = case.call(layer, inputs) if case.call else layer(inputs[0])
    model = keras.Model(inputs, outputs)
    randomise(model)
    return model


def randomise(model: Any, seed: int = 0) -> None:
    """Give every floating-point weight random values (variances stay positive)."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "seed" in weight.path or not str(weight.dtype).startswith(("float", "bfloat")):
            continue
        values = rng.normal(0.1, 0.6, size=weight.shape)
        if "variance" in weight.path:
            values = np.abs(values) + 0.1
        weight.assign(values.astype("float64" if weight.dtype == "float64" else "float32"))


def samples(case: Case, count: int = 3, seed: int = 1) -> list[Any]:
    """Return input arrays; zeros stand among them, so that masks and branches matter."""
    rng = np.random.default_rng(seed)
    found = []
    for shape in case.shapes:
        if case.levels:
            found.append(rng.integers(0, case.levels, size=(count, *shape)).astype("int32"))
            continue
        array = rng.normal(size=(count, *shape)).astype("float32")
        if len(shape) > 1:
            array[0, -1] = 0.0
            array[1, 0] = 0.0
        found.append(array)
    return found
