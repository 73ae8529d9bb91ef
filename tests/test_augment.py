"""Section 4.1, one promise a test."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from alexnet import augment


def images(count: int = 6, side: int = 12) -> np.ndarray:
    """Pixels that tell where they come from: red is the row, green the column, blue the image."""
    rows, columns = np.mgrid[:side, :side]
    return np.stack([np.stack([rows, columns, np.full_like(rows, index)], -1)
                     for index in range(count)]).astype(np.uint8)


def test_crops_are_windows_mirrored_where_drawn():
    choice = augment.Choice(torch.tensor([0, 3]), torch.tensor([4, 1]), torch.tensor([False, True]),
                            torch.zeros(2, 3))
    batch = augment.crop(images(), np.array([5, 2]), choice, 8)
    assert batch.shape == (2, 3, 8, 8) and batch.dtype == torch.uint8
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert batch[0, :, 0, 0].tolist() == [0, 4, 5] and batch[0, :, 7, 7].tolist() == [7, 11, 5]
    assert batch[1, :, 0, 0].tolist() == [3, 8, 2] and batch[1, :, 7, 7].tolist() == [10, 1, 2]


def test_every_place_and_both_mirror_images_are_drawn_alike():
    choice = augment.choose(33 * 33 * 40, 32, torch.Generator().manual_seed(0))
    for values in (choice.top, choice.left):
        counts = torch.bincount(values)
        assert len(counts) == 33 and counts.min() > 0.9 * counts.float().mean()
    assert choice.mirror.float().mean().item() == pytest.approx(0.5, abs=0.01)
    assert choice.colour.std().item() == pytest.approx(1, abs=0.01)


def test_a_draw_follows_from_its_generator():
    one, two = (augment.choose(9, 4, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one.top, two.top) and torch.equal(one.colour, two.colour)
    assert torch.equal(one[slice(2, 5)].left, two.left[2:5])
    one, two = (augment.choose_resized(9, 4, torch.Generator().manual_seed(3), 8) for _ in range(2))
    assert torch.equal(one[slice(2, 5)].width, two.width[2:5]) and torch.equal(one.top, two.top)


def test_resized_crops_are_windows_of_8_to_100_percent_of_the_area_as_pillow_resizes_them():
    side, size, count = 73, 64, 4000
    choice = augment.choose_resized(count, side - size, torch.Generator().manual_seed(0), size)
    for start, length in ((choice.top, choice.height), (choice.left, choice.width)):
        assert start.min() == 0 and length.min() > 15 and (start + length).max() == side
    area, ratio = choice.height * choice.width / side ** 2, choice.width / choice.height
    assert 0.075 < area.min() < 0.09 and 0.48 < area.mean() < 0.55 and area.max() == 1
    assert 0.65 < ratio.min() < 0.76 and 1.3 < ratio.max() < 1.5 and 0.45 < (ratio > 1).float().mean() < 0.55
    assert 0.45 < choice.mirror.float().mean() < 0.55
    assert choice.colour.std().item() == pytest.approx(1, abs=0.03)
    pixels = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), np.uint8)
    batch = augment.crop(pixels, np.arange(200) % 3, choice[slice(0, 200)], size)
    assert batch.dtype == torch.uint8 and batch.is_contiguous(memory_format=torch.channels_last)
    for row in range(200):
        top, left, height, width = (int(values[row]) for values in (
            choice.top, choice.left, choice.height, choice.width))
        window = Image.fromarray(pixels[row % 3, top:top + height, left:left + width])
        expected = np.asarray(window.resize((size, size), Image.Resampling.BILINEAR)).astype(int)
        found = batch[row].permute(1, 2, 0).numpy().astype(int)
        assert abs(found - (expected[:, ::-1] if choice.mirror[row] else expected)).max() <= 1


def test_components_are_standard_deviations_along_the_principal_axes():
    chance = np.random.default_rng(0)
    pixels = chance.normal(size=(200_000, 3)) @ np.diag([50.0, 10, 2])
    pixels = pixels @ np.linalg.qr(chance.normal(size=(3, 3)))[0]
    deviations = augment.components(np.cov(pixels.T))
    assert sorted(np.linalg.norm(deviations, axis=0)) == pytest.approx([2, 10, 50], rel=0.02)
    np.testing.assert_allclose(deviations @ deviations.T, np.cov(pixels.T), rtol=1e-6, atol=1e-6)


def test_colour_noise_is_the_papers_sum_and_the_releases_quotient():
    batch = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    choice = augment.choose(2, 0, torch.Generator().manual_seed(1))
    deviations = torch.from_numpy(augment.components(np.array([[900.0, 300, 0], [300, 400, 0], [0, 0, 100]])))
    noise = (0.1 * choice.colour.double() @ deviations.T)[:, :, None, None]
    paper = augment.colour_noise(batch, choice, deviations, 0.1)
    torch.testing.assert_close(paper.double(), batch + noise, rtol=1e-5, atol=1e-4)
    mean = torch.rand(3, 4, 4) * 255
    release = augment.colour_noise(batch, choice, deviations, 0.1, mean)
    expected = mean + (batch - mean.double() + noise) / 1.1
    torch.testing.assert_close(release.double(), expected, rtol=1e-5, atol=1e-4)
    ends = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    beyond = augment.colour_noise(ends, choice, 10 * deviations, 0.1)
    assert beyond.min() < 0 or beyond.max() > 255   # floats, nothing clipped


def test_ten_crops_are_corners_centre_and_mirror_images():
    whole = augment.as_batch(images(1, 12))
    views = augment.ten_crops(whole, 8)
    assert [view[0, :2, 0, 0].tolist() for view in views[:5]] == [[0, 0], [0, 4], [4, 0], [4, 4], [2, 2]]
    assert all(torch.equal(a.flip(3), b) for a, b in zip(views[:5], views[5:])) and len(views) == 10
    torch.testing.assert_close(augment.centre(whole, 8), views[4])


def test_resized_windows_reach_every_edge():
    choice = augment.choose_resized(4000, 9, torch.Generator().manual_seed(0), 64)
    for start, length in ((choice.top, choice.height), (choice.left, choice.width)):
        room = 73 - length
        smaller = room > 0
        assert (start[smaller] == room[smaller]).any() and (start[smaller] == 0).any()
        assert (start[room == 1].float().mean() - 0.5).abs() < 0.1


# ------------------------------------------------------------------- promises that no other test holds

def test_grey_pictures_alone_have_noise_in_grey_and_no_nan():
    """Two of their principal components have no length, or, as rounded, less than none."""
    deviations = augment.components(np.full((3, 3), 2500.0))
    assert sorted(np.linalg.norm(deviations, axis=0)) == pytest.approx([0, 0, 7500 ** 0.5], abs=1e-5)


def test_the_whole_is_its_own_centre_and_more_is_refused():
    whole = augment.as_batch(images(1, 12))
    assert torch.equal(augment.centre(whole, 12), whole)
    with pytest.raises(ValueError, match="13 px cannot be cut out of 12"):
        augment.centre(whole, 13)
