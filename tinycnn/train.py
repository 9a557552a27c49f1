"""The training loop, and its two halves that need no labels or no gradients: predict and evaluate."""

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from types import NoneType

import numpy as np

from tinycnn import plan
from tinycnn.averaging import ExponentialMovingAverage
from tinycnn.checkpoint import Checkpoint, kept
from tinycnn.checks import check_positive
from tinycnn.errors import DTypeError, NonFiniteError, ShapeError
from tinycnn.finite import Undo, all_finite, diagnosis
from tinycnn.fit_checks import (
    as_many,
    check_data,
    check_gradient,
    check_learnable,
    check_options,
    check_validation,
    checked_callbacks,
)
from tinycnn.kernels import backend_name, one_thread_pool
from tinycnn.kernels.memory import Arena, recycled_memory
from tinycnn.layers import Layer, Sequential, Softmax
from tinycnn.layers.base import behaves_as
from tinycnn.losses import SoftmaxCrossEntropy
from tinycnn.optimizers import Adam, Optimizer
from tinycnn.progress import Bar, Progress
from tinycnn.reuse import Kept
from tinycnn.run import Evaluation, History, Run, identity

#: Turns a batch as stored, such as uint8 pixels, into the array the model takes.
Prepare = Callable[[np.ndarray], np.ndarray]
#: Returns a changed copy of a batch as stored, drawing its randomness from the generator.
Augment = Callable[[np.ndarray, np.random.Generator], np.ndarray]
#: Called after each epoch; may raise `StopTraining`.
Callback = Callable[[Sequential, "History"], None]


class StopTraining(Exception):
    """Raise it in a callback to end `fit` after the present epoch.

    >>> model = tc.Sequential([tc.Dense(2, 2, rng=0), tc.Softmax()])
    >>> x, labels = np.eye(2, dtype=np.float32), np.array([0, 1])
    >>> def enough(model, history):
    ...     if history.loss[-1] < 0.1:
    ...         raise StopTraining
    >>> history = model.fit(
    ...     x, labels, epochs=1000, optimizer=tc.Adam(0.1), callbacks=[enough], progress=False
    ... )
    >>> len(history.loss) < 100
    True
    """


def fit(
    model: Sequential,
    x: np.ndarray,
    labels: np.ndarray,
    *,
    epochs: int = 10,
    batch_size: int = 64,
    optimizer: Optimizer | None = None,
    loss: SoftmaxCrossEntropy | None = None,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    prepare: Prepare | None = None,
    augment: Augment | None = None,
    ema: ExponentialMovingAverage | None = None,
    keep_best: bool = True,
    callbacks: Iterable[Callback] = (),
    checkpoint: Checkpoint | None = None,
    seed: int = 0,
    progress: bool | Progress = True,
) -> History:
    """Train a model, and leave it with its best or its last weights.

    Args:
        model: a classifier with K outputs. A final `Softmax` is left out in training, since the loss has one.
        x: (N, ...), images as stored.
        labels: (N,) of integers, 0 to K-1; or (N, K) of floats, the probabilities of each image's classes.
        epochs: passes over the data.
        batch_size: images a step. The last batch of an epoch takes what is left.
        optimizer: `Adam()` by default.
        loss: `SoftmaxCrossEntropy()` by default.
        validation: (images, labels) to score after each epoch, with averaged weights if there is an `ema`.
        prepare: applied to every batch, such as ``lambda b: b.astype(np.float32) / 255``.
        augment: applied to training batches, before `prepare`.
        ema: keeps a moving average of the weights; the model ends with the averaged ones.
        keep_best: with validation data, end with the weights of the epoch with the lowest validation loss.
            Then that data has chosen the weights and no longer gives an unbiased score: use False for
            cross-validation.
        callbacks: each is called as ``callback(model, history)`` after every epoch, while the model has its
            averaged weights if there is an `ema`. What it keeps of the
            model's gradients it must copy: a later step writes over them, as over all that a loss or a layer
            of one's own sees within a step.
        checkpoint: a file to go on from if it exists, and to write from time to time; see `Checkpoint`.
            The end is the same to the bit, however often the training was cut short. What callbacks,
            `prepare` and `augment` remember for themselves is not in it.
        seed: of the order of images and of augmentation.
        progress: show progress; or a `Progress` to report to.

    Raises:
        ShapeError, DTypeError, ConfigError: data or options do not fit the model or one another.
        NonFiniteError: data, loss or gradients hold NaN or infinity; the model is as before that step. Or
            the last step of all has made a weight infinite.
        ConfigError, FileFormatError, OSError: the checkpoint is of another training, damaged, not accessible.
    """
    check_positive(epochs=epochs, batch_size=batch_size)
    check_data(x, labels)
    check_options(optimizer, loss, validation, prepare, augment, ema, keep_best, checkpoint, seed)
    callbacks = checked_callbacks(callbacks)
    if type(loss) in (NoneType, SoftmaxCrossEntropy):  # another loss may take other labels
        check_learnable(model, x, labels)
    data = {"x": x, "labels": labels}
    if validation is not None:
        check_validation(model, *validation)
        data |= {"validation x": validation[0], "validation labels": validation[1]}
    optimizer, loss = optimizer or Adam(), loss or SoftmaxCrossEntropy()
    reporter = progress if isinstance(progress, Progress) else Bar() if progress else Progress()
    arena, run = Arena(), Run(model, optimizer, ema, np.random.default_rng(seed))
    options = {
        "epochs": epochs,
        "batch_size": batch_size,
        "optimizer": optimizer.config(),
        "loss": [type(loss).__name__, vars(loss)],
        "prepare": prepare,
        "augment": augment,
        "ema": ema and ema.decay,
        "keep_best": keep_best,
        "seed": int(seed),
    }
    belongs_to = {} if checkpoint is None else identity(model, data, options)

    def train_batch(chosen: np.ndarray) -> None:
        undo = run.rng.bit_generator.state
        images = x[chosen]
        if augment is not None:
            images = as_many("augment", augment(images, run.rng), images)
        try:
            ready = _prepared(images, prepare)  # outside of the arena: it may keep what it makes
            with recycled_memory(arena):
                result = train_step(model, ready, labels[chosen], loss, optimizer)
        except NonFiniteError:
            run.rng.bit_generator.state = undo  # as if this batch had not been begun
            raise
        if ema is not None:
            ema.update(run.weights)
        run.results.append(result)
        reporter.batch(len(chosen), result.loss, result.accuracy)

    with one_thread_pool(), reporter.training(epochs, len(x)), kept(checkpoint, run, belongs_to) as keep:
        reporter.resumed(len(run.history.loss), sum(result.images for result in run.results))
        while len(run.history.loss) < epochs and not run.stopped:
            run.begin_epoch(len(x))
            for i in range(len(run.results) * batch_size, len(x), batch_size):
                train_batch(run.order[i : i + batch_size])
                keep()
            with nullcontext() if ema is None else ema.swapped(run.weights):
                scored = None if validation is None else _validate(model, *validation, prepare)
                run.end_epoch(scored, keep_best)
                reporter.epoch(run.history)
                run.stopped = _stopped(callbacks, model, run.history)
            keep()
    weights = run.weights
    for name, average in ({} if ema is None else ema.averages).items():
        weights[name][...] = average
    run.best.restore(weights)
    for name, array in weights.items():  # the last step's are those that no other one has looked at
        if not all_finite(array):
            raise NonFiniteError(
                f"the last step made {name!r} infinite: start anew, with a lower learning rate"
            )
    return run.history


def train_step(
    model: Sequential,
    x: np.ndarray,
    labels: np.ndarray,
    loss: SoftmaxCrossEntropy,
    optimizer: Optimizer,
) -> Evaluation:
    """Move the weights once; return the batch's loss (with L2 penalties) and accuracy before.

    Args:
        model: a classifier; a final `Softmax` is left out.
        x: (N, ...), float, ready for the model.
        labels: (N,) of integers, or (N, K) of probabilities.
        loss: gives the loss and its gradient.
        optimizer: moves the weights.

    Raises:
        NonFiniteError: x, loss or a gradient holds NaN or infinity; the model is as before the step.
        DTypeError: the loss is one of your own, and its gradient is not of the logits' shape and dtype.

    >>> model = tc.Sequential([tc.Dense(2, 2, rng=0), tc.Softmax()])
    >>> x, labels = np.eye(2, dtype=np.float32), np.array([0, 1])
    >>> loss, optimizer = tc.SoftmaxCrossEntropy(), tc.SGD(0.5)
    >>> before = train_step(model, x, labels, loss, optimizer).loss
    >>> train_step(model, x, labels, loss, optimizer).loss < before
    True
    """
    body, undo = logit_layers(model), Undo(model)
    with one_thread_pool(), np.errstate(all="ignore"):  # instead of many warnings there is one check
        logits, backward = plan.run_model(body, x)
        value, dlogits = loss(logits, labels)
        check_gradient(loss, dlogits, logits)
        # A loss of one's own may return NumPy's number, which a history could not keep as JSON.
        result = Evaluation(float(value + model.penalty()), _accuracy(logits, labels), len(labels))
        backward(dlogits)
        grads = model.grads
        finite = math.isfinite(result.loss) and all(map(all_finite, grads.values()))
    if not finite:
        undo()
        raise diagnosis(body, x, labels, loss, optimizer)
    optimizer.step(model.params, grads)
    return result


def predict(
    model: Sequential, x: np.ndarray, batch_size: int = 64, prepare: Prepare | None = None
) -> np.ndarray:
    """Return the model's outputs for x (N, ...), computed batch by batch: an array of its own, (N, K).

    The first call prepares the model for inference, and later ones do if anything in it has changed since;
    until then the model keeps a copy of its weights, and one in the order in which they are read.

    Raises:
        ShapeError, DTypeError: x does not fit the model, or `prepare` makes more or fewer images of it.
        ConfigError: the batch size is no whole number of at least 1.
    """
    if not isinstance(x, np.ndarray):
        raise DTypeError(f"predict: expected a NumPy array of images, found {type(x).__name__}")
    if x.ndim == 0 or len(x) == 0:
        raise ShapeError(f"predict: expected at least one image, found shape {x.shape}")
    return _outputs(model, model, x, batch_size, prepare)


def evaluate(
    model: Sequential,
    x: np.ndarray,
    labels: np.ndarray,
    *,
    batch_size: int = 64,
    prepare: Prepare | None = None,
) -> Evaluation:
    """Return mean cross-entropy (plain: no smoothing, weights or penalties) and accuracy on x and labels.

    Labels are (N,) of integers, or (N, K) of probabilities: then the likeliest class is the right one.

    Raises:
        ShapeError, DTypeError, ConfigError: the data do not fit the model.
        NonFiniteError: the loss is NaN or infinity.
    """
    check_data(x, labels)
    logits = _outputs(model, logit_layers(model), x, batch_size, prepare)
    loss, _ = SoftmaxCrossEntropy()(logits, labels)
    if not math.isfinite(loss):  # accuracy would count NaN as an answer, that of class 0
        raise NonFiniteError(
            "the loss is not finite: look for NaN and infinity in x, in what `prepare` makes of it, and in "
            "the model's weights"
        )
    return Evaluation(loss, _accuracy(logits, labels), len(labels))


def _outputs(
    model: Sequential, body: Sequential, x: np.ndarray, batch_size: int, prepare: Prepare | None
) -> np.ndarray:
    """Return the outputs of `body`, the model or a part of it, for x (N, ...)."""
    check_positive(batch_size=batch_size)
    kept = getattr(model, "_kept", None) or Kept()
    batches = range(0, len(x), batch_size)
    # Compiled inference limits BLAS by itself where it needs it: that takes a while beside a small network.
    with one_thread_pool() if backend_name() == "numpy" else nullcontext():
        network = kept.prepared(model, body)
        return np.concatenate([network(_prepared(x[i : i + batch_size], prepare)) for i in batches])


def _accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    right = labels if np.ndim(labels) == 1 else np.argmax(labels, axis=1)
    return float(np.mean(logits.argmax(axis=1) == right))


def logit_layers(model: Sequential) -> Sequential:
    """Return the model without a final Softmax, which the loss contains; layers and names stay the same."""
    layers = _before_softmax(model)
    return model if layers is model.children() or not layers else Sequential(layers)


def _before_softmax(model: Sequential) -> Mapping[str, Layer]:
    """Return a model's layers but for a final Softmax, in whatever chain it stands; perhaps none are left."""
    if not behaves_as(type(model), Sequential, *plan.PASSES):
        return model.children()  # what another forward makes of its layers, only it knows
    *rest, (name, last) = model.children().items()
    if behaves_as(type(last), Softmax, *plan.PASSES):
        return dict(rest)
    if isinstance(last, Sequential) and (inner := _before_softmax(last)) is not last.children():
        return {**dict(rest), **({name: Sequential(inner)} if inner else {})}
    return model.children()


def _prepared(images: np.ndarray, prepare: Prepare | None) -> np.ndarray:
    return images if prepare is None else as_many("prepare", prepare(images), images)


def _stopped(callbacks: Iterable[Callback], model: Sequential, history: History) -> bool:
    """Call all of them, also behind one that stops the training: a log should have its last epoch."""
    stopped = False
    for callback in callbacks:
        try:
            callback(model, history)
        except StopTraining:
            stopped = True
    return stopped


def _validate(model: Sequential, x: np.ndarray, labels: np.ndarray, prepare: Prepare | None) -> Evaluation:
    try:
        return evaluate(model, x, labels, prepare=prepare)
    except NonFiniteError as error:
        raise NonFiniteError(
            "the loss on the validation data is not finite, while training is: check those data for NaN, or "
            "try a lower learning rate"
        ) from error
