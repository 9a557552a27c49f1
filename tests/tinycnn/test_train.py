"""The loop: it learns, keeps what it promises to keep, and repeats itself to the bit."""

import numpy as np
import pytest

import tinycnn as tc
from tinycnn import train
from tinycnn.kernels.memory import Arena, empty, recycled_memory
from tinycnn.run import Best, Evaluation


def small_model(seed=0):
    rng = np.random.default_rng(seed)
    layers = {
        "conv": tc.Conv2D(1, 4, 3, bias=False, rng=rng),
        "bn": tc.BatchNorm(4),
        "relu": tc.ReLU(),
        "pool": tc.GlobalAvgPool2D(),
        "dropout": tc.Dropout(0.1, rng=rng.spawn(1)[0]),
        "dense": tc.Dense(4, 2, rng=rng),
        "softmax": tc.Softmax(),
    }
    return tc.Sequential(layers, input_shape=(8, 8, 1))


def stripes(n, seed=0):
    """Horizontal stripes (label 0) and vertical ones (label 1) as uint8, in noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    images = rng.integers(0, 60, (n, 8, 8, 1))
    images[labels == 0, ::2] += 120
    images[labels == 1, :, ::2] += 120
    return images.astype(np.uint8), labels


def scale(images):
    return images.astype(np.float32) / 255


def weights(model):
    return {name: array.tobytes() for name, array in {**model.params, **model.state}.items()}


def test_it_learns_and_reports(backend):
    model, (x, labels) = small_model(), stripes(128)
    history = model.fit(
        x,
        labels,
        epochs=12,
        batch_size=16,
        optimizer=tc.Adam(0.02),
        validation=stripes(64, 1),
        prepare=scale,
        progress=False,
    )
    assert {len(getattr(history, name)) for name in history.__dataclass_fields__} == {12}
    assert history.loss[-1] < history.loss[0] / 2
    scored = model.evaluate(*stripes(200, 2), prepare=scale)
    assert scored.accuracy > 0.95
    assert scored.images == 200
    probabilities = model.predict(x, prepare=scale)
    assert probabilities.shape == (128, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_probabilities_as_labels_train_and_score_as_their_classes_do(backend):
    x, labels = stripes(40)
    trained = []
    for target in (labels, np.eye(2, dtype=np.float32)[labels]):
        model = small_model()
        history = model.fit(
            x, target, epochs=2, validation=(x, target), prepare=scale, keep_best=False, progress=False
        )
        scored = model.evaluate(x, target, prepare=scale)
        trained.append((weights(model), history.loss, history.accuracy, history.val_accuracy, scored))
    assert trained[0] == trained[1]


def test_evaluation_agrees_with_predictions():
    model, (x, labels) = small_model(), stripes(50)
    scored = model.evaluate(x, labels, batch_size=7, prepare=scale)
    probabilities = model.predict(x, batch_size=13, prepare=scale)
    assert scored.accuracy == np.mean(probabilities.argmax(axis=1) == labels)
    assert scored.loss == pytest.approx(-np.log(probabilities[np.arange(50), labels]).mean(), rel=1e-5)


def test_same_seed_same_bits_whatever_the_threads(backend):
    def run(seed, threads):
        tc.set_threads(threads)
        model = small_model()
        model.fit(*stripes(60), epochs=2, batch_size=16, prepare=scale, seed=seed, progress=False)
        return weights(model)

    before = tc.get_threads()
    try:
        assert run(0, 1) == run(0, 2) == run(0, 5)
        assert run(0, 1) != run(1, 1)
    finally:
        tc.set_threads(before)


def test_best_weights_are_kept_and_last_ones_on_request():
    x, labels = stripes(64)

    def run(**choice):
        model, seen = small_model(), []
        history = model.fit(
            x,
            labels,
            epochs=6,
            optimizer=tc.SGD(0.1),
            validation=(x, 1 - labels),  # wrong: the more it learns, the worse
            prepare=scale,
            callbacks=[lambda model, history: seen.append(weights(model))],
            progress=False,
            **choice,
        )
        return weights(model), seen, history

    for choice in ({}, {"keep_best": True}):
        best, seen, history = run(**choice)
        assert history.best_epoch == int(np.argmin(history.val_loss)) < 5
        assert best == seen[history.best_epoch]
    last, seen, _ = run(keep_best=False)
    assert last == seen[-1]


def test_of_two_epochs_as_good_the_first_is_the_best():
    best = Best()
    for number, loss in enumerate([2.0, 1.0, 1.0]):
        best.offer(loss, {"w": np.array([number])})
    assert best.weights["w"] == 1


def test_an_epoch_s_means_are_over_images_and_not_over_batches():
    history = tc.History()
    history.add_training([Evaluation(1.0, 1.0, 3), Evaluation(4.0, 0.0, 1)])
    assert (history.loss, history.accuracy) == ([1.75], [0.75])


def test_validation_and_callbacks_see_the_average():
    model, validation, seen = small_model(), stripes(64, 1), []
    history = model.fit(
        *stripes(64),
        epochs=2,
        batch_size=16,
        prepare=scale,
        validation=validation,
        keep_best=False,
        ema=tc.ExponentialMovingAverage(0.9),
        callbacks=[lambda model, _: seen.append(model.evaluate(*validation, prepare=scale).loss)],
        progress=False,
    )
    assert seen == pytest.approx(history.val_loss)
    assert model.evaluate(*validation, prepare=scale).loss == pytest.approx(history.val_loss[-1])


def test_averaged_weights_are_what_remains():
    model, ema = small_model(), tc.ExponentialMovingAverage(0.9)
    model.fit(*stripes(64), epochs=2, batch_size=16, prepare=scale, ema=ema, progress=False)
    plain = small_model()
    plain.fit(*stripes(64), epochs=2, batch_size=16, prepare=scale, progress=False)
    assert weights(model) != weights(plain)
    averages = {name: array.tobytes() for name, array in ema.averages.items()}
    assert averages.items() <= weights(model).items()


def test_training_goes_on_from_the_average():
    images, labels = stripes(64)
    model, ema = small_model(), tc.ExponentialMovingAverage(0.9)
    options = {"prepare": scale, "ema": ema, "progress": False}
    model.fit(images, labels, epochs=3, optimizer=tc.SGD(0.5), **options)
    averaged = model.params["dense.kernel"].copy()
    np.testing.assert_array_equal(ema.averages["dense.kernel"], averaged)
    model.fit(images, labels, epochs=1, optimizer=tc.SGD(1e-12), **options)
    np.testing.assert_allclose(model.params["dense.kernel"], averaged, atol=1e-6)


def test_prepare_may_keep_what_it_made(backend):
    """Memory that a step uses again must not be what a user's function has been given."""
    images, labels = stripes(32)
    backbone = tc.Sequential([tc.Conv2D(1, 4, 3, rng=0), tc.ReLU()])
    kept = []

    def features(batch):
        made = backbone.forward(scale(batch))
        kept.append((made, made.copy()))
        return made

    head = tc.Sequential([tc.Flatten(), tc.Dense(144, 2, rng=1)])
    head.fit(images, labels, epochs=2, batch_size=8, prepare=features, progress=False)
    for made, copy in kept:
        np.testing.assert_array_equal(made, copy)


class Doubled(tc.Softmax):
    """Not the softmax that the loss contains."""

    def _forward(self, x, train):
        return super()._forward(2 * x, train)


class Reversed(tc.Sequential):
    """Not a chain in the order of its layers."""

    def forward(self, x, train=False):
        for layer in reversed(self.children().values()):
            x = layer.forward(x, train)
        return x


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 1, 2, 0]), "label 2 at position 2: expected 0 to 1"),
        (np.zeros(4), "labels are float64: expected integers"),
        (np.eye(4)[:, :3], r"labels are \(4, 3\): expected \(N, 2\)"),
    ],
)
def test_labels_are_looked_at_before_the_first_step(labels, message):
    images, right = stripes(4)
    model = small_model()
    before = {name: array.copy() for name, array in model.params.items()}
    options = {"prepare": scale, "epochs": 1, "batch_size": 1, "progress": False}
    with pytest.raises(tc.TinyCNNError, match=message) as caught:
        model.fit(images, right, validation=(images, labels), **options)
    assert "in the validation data" in caught.value.__notes__
    with pytest.raises(tc.TinyCNNError, match=message):
        model.fit(images, labels, **options)
    for name, array in model.params.items():
        np.testing.assert_array_equal(array, before[name])


class Forgiving(tc.SoftmaxCrossEntropy):
    """Takes other labels."""

    def __call__(self, logits, labels):
        return super().__call__(logits, labels % 2)


class Coarse(tc.SoftmaxCrossEntropy):
    """Returns its gradient in another precision."""

    def __call__(self, logits, labels):
        value, dlogits = super().__call__(logits, labels)
        return value, dlogits.astype(np.float64)


def test_a_gradient_that_the_last_layer_cannot_take_is_the_loss_s_fault():
    with pytest.raises(
        tc.DTypeError, match=r"Coarse: its gradient is float64 of shape \(4, 2\): expected float32"
    ):
        small_model().fit(*stripes(4), prepare=scale, epochs=1, loss=Coarse(), progress=False)


def test_which_labels_a_loss_of_one_s_own_takes_is_its_own_affair():
    images, labels = stripes(4)
    histories = [
        small_model().fit(images, given, prepare=scale, epochs=1, loss=Forgiving(), progress=False)
        for given in (labels, labels + 4)
    ]
    assert histories[0].loss == histories[1].loss


@pytest.mark.parametrize("name", ["prepare", "augment", "keep_best"])
def test_options_of_another_kind_are_refused_by_name(name):
    with pytest.raises(tc.ConfigError, match=f"{name}=5: expected"):
        small_model().fit(*stripes(4), progress=False, **{name: 5})


def test_a_softmax_inside_the_last_part_is_left_out_too():
    images, labels = stripes(64)
    body = [tc.Flatten(), tc.Dense(64, 2, rng=0)]
    flat = tc.Sequential([*body, tc.Softmax()])
    nested = tc.Sequential([body[0], tc.Sequential([body[1], tc.Softmax()])])
    expected = flat.evaluate(images, labels, prepare=scale)
    assert nested.evaluate(images, labels, prepare=scale) == expected
    assert [path for path, _ in train.logit_layers(nested).walk()] == ["", "0", "1", "1.0"]
    alone = tc.Sequential([*body, tc.Sequential([tc.Softmax()])])
    assert alone.evaluate(images, labels, prepare=scale) == expected
    only = tc.Sequential([tc.Softmax()])  # nothing would be left of it
    assert train.logit_layers(only) is only
    own_end = tc.Sequential([tc.ReLU(), Doubled()])
    assert train.logit_layers(own_end) is own_end
    other_way = Reversed([tc.Softmax(), tc.ReLU(), tc.Softmax()])
    assert train.logit_layers(other_way) is other_way


def test_callbacks_are_all_called_in_every_epoch():
    seen = []

    def stop(model, history):
        if len(history.loss) == 2:
            raise tc.StopTraining

    callbacks = (call for call in (stop, lambda model, history: seen.append(len(history.loss))))
    small_model().fit(*stripes(8), epochs=5, prepare=scale, callbacks=callbacks, progress=False)
    assert seen == [1, 2]


@pytest.mark.parametrize("wrong", [{"callbacks": print}, {"callbacks": ["log"]}, {"checkpoint": "run.ck"}])
def test_callbacks_and_checkpoint_are_checked(wrong):
    with pytest.raises(tc.ConfigError, match=next(iter(wrong))):
        small_model().fit(*stripes(8), prepare=scale, progress=False, **wrong)


def test_a_callback_can_stop():
    def stop(model, history):
        if len(history.loss) == 2:
            raise tc.StopTraining

    history = small_model().fit(*stripes(32), epochs=9, prepare=scale, callbacks=[stop], progress=False)
    assert len(history.loss) == 2


@pytest.mark.parametrize(("validation", "told"), [(stripes(16, 1), "val_loss"), (None, "loss")])
def test_a_schedule_hears_of_the_validation_loss_if_there_is_one(validation, told):
    class Listening(tc.Constant):
        def observe(self, loss):
            heard.append(loss)

    heard = []
    options = {"epochs": 3, "optimizer": tc.SGD(Listening(0.1)), "validation": validation}
    history = small_model().fit(*stripes(32), prepare=scale, progress=False, **options)
    assert heard == getattr(history, told)


def test_a_plateau_lowers_the_rate():
    schedule = tc.ReduceOnPlateau(0.1, patience=0, threshold=0.99)
    history = small_model().fit(
        *stripes(32),
        epochs=3,
        optimizer=tc.SGD(schedule),
        validation=stripes(16, 1),
        prepare=scale,
        progress=False,
    )
    assert history.learning_rate == [0.1, 0.05, 0.025]  # of the steps after each epoch


def test_augmentation_sees_training_batches_as_stored():
    seen = []

    def augment(images, rng):
        seen.append((images.dtype, len(images)))
        return images[:, :, ::-1]

    small_model().fit(
        *stripes(40),
        epochs=1,
        batch_size=16,
        validation=stripes(8),
        augment=augment,
        prepare=scale,
        progress=False,
    )
    assert seen == [(np.uint8, 16), (np.uint8, 16), (np.uint8, 8)]


def test_l2_counts_in_the_loss():
    model = tc.Sequential([tc.Flatten(), tc.Dense(4, 2, l2=0.5, rng=0)])
    x, labels = np.zeros((2, 2, 2, 1), np.float32), np.array([0, 1])
    penalty = 0.5 * float((model.params["1.kernel"] ** 2).sum())
    step = tc.train_step(model, x, labels, tc.SoftmaxCrossEntropy(), tc.SGD(0.1))
    assert step.loss == pytest.approx(np.log(2) + penalty, rel=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": np.zeros((0, 8, 8, 1)), "labels": np.zeros(0, int)}, tc.ShapeError, "N >= 1 images"),
        ({"labels": np.zeros(3, int)}, tc.ShapeError, r"found shapes \(32, 8, 8, 1\) and \(3,\)"),
        ({"labels": np.zeros((32, 2, 1))}, tc.ShapeError, r"and \(32, 2, 1\)"),
        ({"labels": np.zeros((32, 2))}, tc.ConfigError, "expected probabilities"),
        ({"labels": [0, 1]}, tc.DTypeError, "expected NumPy arrays"),
        ({"epochs": 0}, tc.ConfigError, "epochs=0"),
        ({"batch_size": 1.5}, tc.ConfigError, "batch_size=1.5"),
        ({"prepare": None}, tc.DTypeError, "found uint8: use np.float32"),
        ({"labels": np.full(32, 2)}, tc.ConfigError, "expected 0 to 1, since the model has 2 outputs"),
    ],
)
def test_bad_data_and_options(change, error, message):
    x, labels = stripes(32)
    with pytest.raises(error, match=message):
        small_model().fit(**{"x": x, "labels": labels, "prepare": scale, "progress": False, **change})


def test_the_bar_shows_what_matters(capsys):
    pytest.importorskip("rich", reason="the bar needs rich")
    small_model().fit(*stripes(32), epochs=2, validation=stripes(8), prepare=scale)
    text = capsys.readouterr().out
    for word in ("epoch 2/2", "loss", "accuracy", "images/s", "held out"):
        assert word in text


def test_a_training_step_after_the_first_takes_no_new_memory():
    arena, shapes = Arena(), [(3, 4), (100,), (2, 2)]

    def step():
        with recycled_memory(arena):
            return [empty(shape, np.float32) for shape in shapes]

    first, second = step(), step()
    assert all(np.shares_memory(a, b) for a, b in zip(first, second, strict=True))
    assert not any(np.shares_memory(a, b) for a in first for b in first if a is not b)
    assert not np.shares_memory(empty((3, 4), np.float32), first[0])


def test_predictions_are_copies():
    model, (x, _) = small_model(), stripes(20)
    first = model.predict(x, prepare=scale)
    kept = first.copy()
    model.predict(x[::-1], prepare=scale)
    np.testing.assert_array_equal(first, kept)
    with pytest.raises(tc.ShapeError, match="at least one image"):
        model.predict(x[:0])


def test_forward_outside_of_fit_never_overwrites_earlier_results(backend):
    model, (x, _) = small_model(), stripes(8)
    first = model.forward(scale(x))
    kept = first.copy()
    model.forward(scale(x[::-1]))
    np.testing.assert_array_equal(first, kept)


def test_silent_progress_is_silent(capsys):
    small_model().fit(*stripes(16), epochs=1, prepare=scale, progress=train.Progress())
    assert capsys.readouterr().out == ""
