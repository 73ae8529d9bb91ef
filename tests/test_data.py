"""Sources, opening any image, the packed form, and what is said of odd data."""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import shutil
import subprocess
import sys
import zlib
from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image, UnidentifiedImageError

from alexnet import demo, images, sources
from alexnet.folders import Folder
from alexnet.images import open_image
from alexnet.labels import lists_in, read_list
from alexnet.layout import by_name, measured_part, several_classes
from alexnet.pack import packed
from alexnet.predict import find_pictures
from alexnet.sources import find_source, from_datasets
from alexnet.files import UserError, fetching
from conftest import ROOT, make_folder, save_picture


# ------------------------------------------------------------------- any image

def file_of(image: Image.Image, kind: str, **options) -> io.BytesIO:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    buffer.seek(0)
    return buffer


@pytest.fixture
def picture(noise_image):
    return Image.fromarray(noise_image(60, 90))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_every_format_opens(picture, kind):
    opened = open_image(file_of(picture, kind))
    assert opened.mode == "RGB" and opened.size == (90, 60)
    difference = np.abs(np.asarray(opened, float) - np.asarray(picture, float)).mean()
    assert difference < (1 if kind in ("PNG", "BMP", "TIFF", "PPM") else 12)


@pytest.mark.parametrize("mode,kind", [("L", "PNG"), ("L", "JPEG"), ("1", "PNG"), ("P", "PNG"), ("LA", "PNG"),
                                       ("RGBA", "PNG"), ("CMYK", "JPEG"), ("CMYK", "TIFF"), ("YCbCr", "JPEG"),
                                       ("I;16", "PNG"), ("I;16", "TIFF"), ("I", "TIFF"), ("F", "TIFF")])
def test_every_mode_opens_and_keeps_its_brightness(picture, mode, kind):
    grey = picture.convert("L")
    if mode in ("I;16", "I"):
        values = np.asarray(grey).astype(np.uint16) * 257
        image = Image.fromarray(values if mode == "I;16" else values.astype(np.int32))
    elif mode == "F":
        image = Image.fromarray(np.asarray(grey).astype(np.float32) / 255)
    else:
        image = picture.convert(mode)
    opened = open_image(file_of(image, kind))
    assert opened.mode == "RGB"
    expected = np.asarray(picture.convert("1") if mode == "1" else grey, float) * (255 if mode == "1" else 1)
    assert abs(np.asarray(opened.convert("L"), float).mean() - expected.mean()) < 6


def test_what_is_transparent_becomes_white():
    assert open_image(file_of(Image.new("LA", (4, 4), (0, 0)), "PNG")).getpixel((1, 1)) == (255, 255, 255)
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
    image.putpixel((0, 0), (0, 0, 0, 0))
    opened = open_image(file_of(image, "PNG"))
    assert opened.getpixel((0, 0)) == (255, 255, 255) and opened.getpixel((1, 1)) == (255, 0, 0)
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30, 200, 0, 0])
    palette.putpixel((1, 1), 1)
    opened = open_image(file_of(palette, "PNG", transparency=0))
    assert opened.getpixel((0, 0)) == (255, 255, 255) and opened.getpixel((1, 1)) == (200, 0, 0)
    deep = Image.fromarray(np.array([[0, 30000]], np.uint16))
    assert np.asarray(open_image(file_of(deep, "PNG", transparency=0)))[0, :, 0].tolist() == [255, 117]


def test_exif_turns_the_picture(picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    opened = open_image(file_of(picture, "PNG", exif=exif))
    assert opened.size == (60, 90)
    np.testing.assert_array_equal(np.asarray(opened), np.rot90(np.asarray(picture), -1))


def values_file(values: np.ndarray, kind: str = "TIFF") -> io.BytesIO:
    return file_of(Image.fromarray(values), kind)


def tiff(values: np.ndarray, bits: int, sample_format: int = 1, photometric: int = 1) -> io.BytesIO:
    """One that Pillow reads, but does not write: grey, uncompressed, of any declared kind."""
    height, data = len(values), values.tobytes()
    width = len(data) * 8 // bits // height
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1),
            (278, height),
            (279, len(data)), (339, sample_format)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    head, count = struct.pack("<2sHI", b"II", 42, 8 + len(data)), struct.pack("<H", len(tags))
    return io.BytesIO(head + data + count + entries + bytes(4))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_deep_pixels_are_scaled_by_the_kind_of_file_not_by_the_image(noise_image, kind):
    grey = noise_image(30, 40)[..., 0]
    deep = grey.astype(np.uint16) * 257
    dark = np.where(np.arange(40) < 20, deep // 2, 255).astype(np.uint16)   # half of it nearly black
    for values in (deep, dark, np.minimum(deep, 255), np.minimum(deep, 256)):
        opened = np.asarray(open_image(values_file(values, kind)))
        np.testing.assert_array_equal(opened[..., 1], (values / 257).round())


def test_every_declared_kind_of_deep_pixels_has_its_white(noise_image):
    grey = noise_image(30, 40)[..., 0]
    wide = grey.astype(np.uint16) * 257
    # 12 bits each: three bytes for two
    pairs = (grey.astype(np.uint16) * 16).reshape(-1, 2).astype(np.uint32)
    packed12 = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], 1)
    for name, file, tolerance in (
            ("int32", values_file(wide.astype(np.int32)), 0),
            ("float", values_file(grey / np.float32(255)), 0),
            ("int16", tiff((wide // 2).astype(np.int16), 16, 2), 1),
            ("uint32", tiff(wide.astype(np.uint32), 32), 0),
            ("white is zero", tiff(65535 - wide, 16, photometric=0), 0),
            ("12 bits", tiff(packed12.astype(np.uint8).reshape(30, 60), 12), 1)):
        apart = np.abs(np.asarray(open_image(file))[..., 0].astype(int) - grey)
        assert apart.max() <= tolerance, name


@pytest.mark.parametrize("values, white", [
    ([0, 4032], 255), ([0, 65535], 255), ([-1, 1], 1), ([0, 2.5], 1), ([0, np.inf], 1), ([np.nan, np.nan], 1),
    ([0.5, 255], 1), ([-0.2, 0.5], 1), ([0.3, 1.2], 1)])
def test_floating_point_beyond_its_range_is_refused_with_both_ends(values, white):
    pixels = np.resize(np.float32(values), (4, 4))
    said = f"from {pixels.min():g} to {pixels.max():g}.*0 is black and {white} white"
    with pytest.raises(ValueError, match=said):
        open_image(values_file(pixels))


def test_floating_point_is_cut_off_near_its_range_and_whole_numbers_are_those_of_8_bits(noise_image):
    grey = noise_image(30, 40)[..., 0]
    np.testing.assert_array_equal(np.asarray(open_image(values_file(grey.astype(np.float32))))[..., 0], grey)
    opened = open_image(values_file(np.float32([[-0.01, np.nan, 0.5, 1.05]])))
    assert np.asarray(opened)[0, :, 0].tolist() == [0, 0, 128, 255]


def test_integers_over_all_32_bits_are_refused():
    with pytest.raises(ValueError, match="from -2.14748e.09 to 2.14748e.09.*65535 white"):
        open_image(values_file(np.array([[-2 ** 31, 2 ** 31 - 1]], np.int32)))


def chunk(kind: bytes, data: bytes, wrong: int = 0) -> bytes:
    """Of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ wrong)


def test_colours_of_16_bits_that_use_12_are_dim_though_pillow_has_reduced_them(noise_image):
    for colours, alpha, kind in ((3, 0, 2), (3, 1, 6), (1, 1, 4)):   # RGB, RGBA, grey and transparency
        for scale in (16, 257):
            values = noise_image(30, 40)[..., :colours].astype(">u2") * np.uint16(scale)
            values = np.dstack([values, *[np.full((30, 40), 65535)] * alpha]).astype(">u2")
            rows = b"".join(b"\0" + row.tobytes() for row in values)
            head = struct.pack(">IIBBBBB", 40, 30, 16, kind, 0, 0, 0)
            content = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
            file = images.PNG + content
            assert ("dim" in open_image(file).info) == (scale == 16), (kind, scale)
    dark = struct.pack("<2sIIIIiiHHIIiiII3I", b"BM", 74, 0, 66, 40, 2, 2, 1, 16, 3, 8, 0, 0, 0, 0, 63488,
                       2016, 31) + bytes(8)
    for file in (dark, file_of(Image.new("L", (9, 9)), "PNG")):
        assert "dim" not in open_image(file).info


def test_a_wrong_checksum_a_large_text_or_profile_in_a_png_does_not_matter(picture):
    large = zlib.compress(bytes(3 * 2 ** 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    for more in (chunk(b"tEXt", b"a\0b", 1), chunk(b"zTXt", b"a\0\0" + large),
                 chunk(b"iCCP", b"a\0\0" + large),
                 chunk(b"iTXt", b"a\0\1\0\0\0" + large), chunk(b"gAMA", b"a"),
                 chunk(b"eXIf", b"no EXIF data"),
                 chunk(b"eXIf", b"a", 1)):
        for turn in {False, more[4:8] != b"eXIf"}:
            whole = file_of(picture, "PNG", **({"exif": exif} if turn else {})).getvalue()
            for place in (33, len(whole) - 12):   # behind the head, before the end
                opened = open_image(io.BytesIO(whole[:place] + more + whole[place:]))
                np.testing.assert_array_equal(opened, np.rot90(picture, -1) if turn else picture)
    half = len(whole) // 2
    for damaged in (whole[:half], whole[:half] + bytes([whole[half] ^ 1]) + whole[half + 1:]):
        with pytest.raises(OSError):
            open_image(io.BytesIO(damaged[:33] + chunk(b"tEXt", b"a\0b", 1) + damaged[33:]), 36)


def test_a_jpeg_beyond_pillows_limit_opens_at_reduced_scale(tmp_path, noise_image, monkeypatch):
    """The limits are lowered, so that a small file is beyond them as one of 200 megapixels is."""
    file = tmp_path / "large.jpg"
    Image.fromarray(noise_image(640, 800)).save(file)
    expected = open_image(file, side=36)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200_000)
    monkeypatch.setattr(images, "MOST", 400_000)
    assert expected.size == (100, 80) and open_image(file, side=36).tobytes() == expected.tobytes()
    with open(file, "rb") as stream:
        assert open_image(stream, side=36).tobytes() == expected.tobytes()
    # 1.5 MB of coefficients
    Image.fromarray(noise_image(640, 800)).save(tmp_path / "slow.jpg", progressive=True)
    Image.fromarray(noise_image(640, 800)).save(tmp_path / "large.png")
    for name, side in (("large.jpg", None), ("slow.jpg", 36), ("large.png", 36)):
        with pytest.raises(Image.DecompressionBombError):
            open_image(tmp_path / name, side)


def heic_like(brand: bytes) -> io.BytesIO:
    return io.BytesIO(b"\0\0\0\x18ftyp" + brand + bytes(100))


def test_heic_without_its_package_is_named_whatever_the_suffix(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)   # to import it fails
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    images.formats.cache_clear()
    for brand in (b"heic", b"heix", b"hevc", b"mif1"):
        with pytest.raises(UnidentifiedImageError, match="HEIC by its content.*pip install pillow-heif"):
            open_image(heic_like(brand))
    for brand in (b"isom", b"avif", b"qt  "):
        with pytest.raises(UnidentifiedImageError, match="not an image, damaged|AVIF needs Pillow 11.3"):
            open_image(heic_like(brand))
    images.formats.cache_clear()


def test_heic_opens_where_pillow_heif_is_installed(tmp_path, noise_image):
    pytest.importorskip("pillow_heif")
    images.formats()   # registers it
    picture = Image.fromarray(noise_image(60, 90))
    for name in ("photo.heic", "really-heic.jpg"):
        picture.save(tmp_path / name, "HEIF", quality=90)
        assert np.abs(np.asarray(open_image(tmp_path / name, 36), float) - np.asarray(picture)).mean() < 8
    folder = make_folder(tmp_path / "set", {"disc": 4, "star": 4}, ".heic")
    assert len(pack(folder, tmp_path).labels["train"]) == 6


def test_avif_opens(picture):
    if "AVIF" not in Image.SAVE:
        pytest.skip("this Pillow has no AVIF")
    assert np.abs(np.asarray(open_image(file_of(picture, "AVIF")), float) - np.asarray(picture)).mean() < 12


def test_a_large_jpeg_is_decoded_at_reduced_scale_and_looks_the_same(noise_image):
    large = Image.fromarray(noise_image(1600, 2400))
    reduced = open_image(file_of(large, "JPEG", quality=95), side=146)
    assert reduced.size == (600, 400)
    one, two = images.square(reduced, 146).astype(float), images.square(large, 146).astype(float)
    assert np.abs(one - two).mean() < 3


def test_square_is_the_centre_of_the_shorter_side():
    values = np.zeros((50, 150, 3), np.uint8)
    values[:, 50:100] = 200
    assert (images.square(Image.fromarray(values), 25)[:, 2:-2] == 200).all()
    same = np.arange(30 * 30 * 3, dtype=np.uint32).reshape(30, 30, 3).astype(np.uint8)
    np.testing.assert_array_equal(images.square(Image.fromarray(same), 30), same)


@pytest.mark.parametrize("size, side", [((500, 375), 256), ((146, 200), 73), ((224, 224), 146),
                                        ((100, 101), 256)])
def test_square_is_pillows_bicubic_to_a_grey_level(noise_image, size, side):
    image = Image.fromarray(noise_image(size[1] // 4, size[0] // 4)).resize(size, Image.Resampling.BICUBIC)
    short = min(size)
    left, top = (size[0] - short) // 2, (size[1] - short) // 2
    expected = image.resize((side, side), Image.Resampling.BICUBIC, (left, top, left + short, top + short))
    apart = np.abs(images.square(image, side).astype(int) - np.asarray(expected))
    assert apart.max() <= 2 and apart.mean() < 0.1


def test_a_picture_far_too_large_is_reduced_first_and_keeps_its_centre(noise_image):
    image = Image.fromarray(noise_image(700, 1001))
    box = (1001 - 700) // 2, 0, (1001 - 700) // 2 + 700, 700
    expected = images.square(image.crop(box).reduce(4), 80)   # 700 // 160
    np.testing.assert_array_equal(images.square(image, 80), expected)


# ------------------------------------------------------------------- the packed form

def pack(where, tmp_path, size=36, **options):
    return packed(find_source(str(where), options.pop("val_fraction", None)), size, tmp_path / "cache",
                  quiet=True, **options)


def test_pack_holds_the_images_and_the_statistics_of_the_training_part(tmp_path):
    folder = make_folder(tmp_path / "set", {"train/disc": 25, "train/star": 22, "val/disc": 3, "val/star": 4})
    result = pack(folder, tmp_path)
    assert result.classes == ["disc", "star"] and result.labels["train"].tolist() == [0] * 25 + [1] * 22
    assert result.images["train"].shape == (47, 41, 41, 3) and result.images["val"].shape[0] == 7
    assert isinstance(result.images["train"], np.memmap)
    first = sorted((folder / "train/disc").iterdir())[0]
    np.testing.assert_array_equal(result.images["train"][0], images.square(open_image(first), 41))
    pixels = result.images["train"].astype(np.float64)
    np.testing.assert_allclose(result.mean, pixels.mean(0), rtol=1e-5)
    expected = np.cov(pixels.reshape(-1, 3).T, bias=True)
    np.testing.assert_allclose(result.covariance, expected, rtol=1e-4, atol=1e-2)
    assert result.mean_crop(36).shape == (3, 36, 36)
    np.testing.assert_allclose(result.mean_crop(36)[:, 0, 0], result.mean[2, 2])
    assert not result.findings and not result.skipped


def test_pack_is_reused_until_the_source_changes(tmp_path):
    folder = make_folder(tmp_path / "set", {"train/disc": 20, "train/star": 20, "val/disc": 2, "val/star": 2})
    stamp = os.stat(pack(folder, tmp_path).folder).st_ino
    assert os.stat(pack(folder, tmp_path).folder).st_ino == stamp
    save_picture(folder / "train/disc/new.png", 302)
    changed = pack(folder, tmp_path)
    assert os.stat(changed.folder).st_ino != stamp and len(changed.labels["train"]) == 41
    stamp = os.stat(changed.folder).st_ino
    os.utime(folder / "train/disc/new.png", (1, 1))   # another picture of the same size, perhaps
    assert os.stat(pack(folder, tmp_path).folder).st_ino != stamp
    assert len(list((tmp_path / "cache").iterdir())) == 1  # nothing left behind


def test_packing_does_not_depend_on_the_number_of_threads(tmp_path):
    folder = make_folder(tmp_path / "set", {"disc": 20, "star": 20}, ".jpg")
    one = packed(find_source(str(folder)), 36, tmp_path / "one", threads=1, quiet=True)
    many = packed(find_source(str(folder)), 36, tmp_path / "many", threads=7, quiet=True)
    np.testing.assert_array_equal(one.images["train"], many.images["train"])
    np.testing.assert_array_equal(one.mean, many.mean)


def damage(folder):
    whole = (folder / "train/disc/0.jpg").read_bytes()
    (folder / "train/disc/cut.jpg").write_bytes(whole[:len(whole) // 2])
    (folder / "train/star/empty.png").write_bytes(b"")
    (folder / "val/star/text.jpg").write_text("no picture")
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    (folder / "train/star/bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + header + b"\0" * 20)


def test_deep_pixels_that_do_not_fit_are_a_finding_or_left_out(tmp_path):
    folder = make_folder(tmp_path / "set", {"disc": 10, "star": 10})
    grey = np.asarray(Image.open(folder / "disc/0.png").convert("L"), np.uint16)
    Image.fromarray(grey * 16).save(folder / "disc/dark.png")   # 12 bits in 16
    # 8 bits: no matter
    Image.fromarray(np.stack([grey * 257] * 3, 2).astype(np.uint8)).save(folder / "disc/dark.bmp")
    Image.fromarray(grey * 257).save(folder / "disc/good.png")
    Image.fromarray(grey * np.float32(16)).save(folder / "star/wide.tif")
    result = pack(folder, tmp_path)
    assert any("1 image(s) of more than 8 bits" in line and "dark.png" in line for line in result.findings)
    assert len(result.skipped) == 1 and "wide.tif" in result.skipped[0] and "255 white" in result.skipped[0]
    assert json.loads((result.folder / "pack.json").read_text())["format"] == 2


def test_a_pack_of_the_first_format_is_packed_anew(tmp_path):
    folder = make_folder(tmp_path / "set", {"disc": 4, "star": 4})
    about = pack(folder, tmp_path).folder / "pack.json"
    about.write_text(about.read_text().replace('"format": 2', '"format": 1'))
    stamp = os.stat(about).st_ino
    assert os.stat(pack(folder, tmp_path).folder / "pack.json").st_ino != stamp


def test_unreadable_files_are_named_and_left_out(tmp_path):
    folder = make_folder(tmp_path / "set", {"train/disc": 20, "train/star": 20, "val/disc": 2, "val/star": 2},
                         ".jpg")
    damage(folder)
    result = pack(folder, tmp_path)
    assert len(result.labels["train"]) == 40 == len(result.images["train"]) and len(result.labels["val"]) == 4
    assert len(result.skipped) == 4
    for name in ("cut.jpg", "empty.png", "bomb.png", "text.jpg"):
        assert any(name in line for line in result.skipped)


def test_strict_stops_at_an_unreadable_file_and_leaves_nothing(tmp_path):
    folder = make_folder(tmp_path / "set", {"train/disc": 20, "train/star": 20, "val/disc": 2, "val/star": 2},
                         ".jpg")
    damage(folder)
    with pytest.raises(UserError, match="cut.jpg cannot be read"):
        pack(folder, tmp_path, strict=True)
    assert not list((tmp_path / "cache").iterdir())


# ------------------------------------------------------------------- sources

def test_class_folders_alone_are_split_by_class_and_always_alike(tmp_path, monkeypatch):
    """~ is the home folder from Python, too."""
    folder = make_folder(tmp_path / "set", {"disc": 30, "star": 20})
    monkeypatch.setenv("HOME", str(tmp_path))
    one, two = find_source(str(folder), 0.1), find_source("~/set", 0.1)
    assert one.parts == two.parts
    labels = [label for _, label in one.parts["val"]]
    assert labels == [0] * 3 + [1] * 2 and len(one.parts["train"]) == 45
    assert not {path for path, _ in one.parts["val"]} & {path for path, _ in one.parts["train"]}
    assert len(find_source(str(folder)).parts["val"]) == 10


def test_a_given_val_fraction_leaves_the_validation_part_alone(tmp_path):
    folder = make_folder(tmp_path / "set", {"train/disc": 20, "train/star": 20, "val/disc": 2, "val/star": 2})
    source = find_source(str(folder), 0.25)
    assert len(source.parts["val"]) == 10
    assert all("train" in path.parts for part in source.parts.values() for path, _ in part)


@pytest.mark.parametrize("pattern", ["{}.{}.jpg", "{}_{}.jpg", "{}{}.jpg"])
@pytest.mark.parametrize("inside", ["", "train"])
def test_flat_names_of_kaggle(tmp_path, pattern, inside):
    for index in range(50):
        save_picture(tmp_path / "set" / inside / pattern.format("cat" if index % 2 else "hot_dog", index),
                     index)
    source = find_source(str(tmp_path / "set"))
    assert source.classes == ["cat", "hot_dog"] and len(source.parts["val"]) == 10


@pytest.mark.parametrize("name,line", [
    ("LOC_val_solution.csv", "{stem},{wnid} 1 2 3 4"),
    ("val/val_annotations.txt", "{stem}.JPEG\t{wnid}\t0\t0\t62\t62"),
    ("val.txt", "{stem}.JPEG {number}")])
def test_imagenets_flat_validation_part_with_its_list(tmp_path, name, line):
    folder = make_folder(tmp_path / "set", {"train/n01": 20, "train/n02": 20, "val": 0})
    lines = ["ImageId,PredictionString"] if name.endswith("csv") else []
    for index in range(6):
        stem = f"ILSVRC2012_val_{index:08}"
        save_picture(folder / "val" / f"{stem}.JPEG", index, "val", format="JPEG")
        lines.append(line.format(stem=stem, wnid=f"n0{1 + index % 2}", number=index % 2))
    (folder / name).write_text("\n".join(lines))
    assert [label for _, label in find_source(str(folder)).parts["val"]] == [0, 1] * 3


def test_pictures_that_the_list_leaves_out_are_counted(tmp_path):
    folder = make_folder(tmp_path / "set", {"train/n01": 20, "train/n02": 20, "val": 0})
    for index in range(4):
        save_picture(folder / "val" / f"v{index}.png", index, "val")
    (folder / "val.txt").write_text("v0.png n01\nv1.png n02\nv2.png n99\n")
    source = find_source(str(folder))
    assert len(source.parts["val"]) == 2
    assert any("2 of 4 pictures" in line and "of a class that train/ lacks" in line for line in source.findings)
    source = sources.to_measure(folder / "val", ["n01", "n02"])
    assert len(source.parts["val"]) == 2
    assert any("of a class that the model lacks" in line for line in source.findings)


def test_kaggles_test_folder_without_labels_is_left_alone(tmp_path):
    for index in range(50):
        save_picture(tmp_path / "set/train" / f"{'cat' if index % 2 else 'dog'}.{index}.jpg", index)
    save_picture(tmp_path / "set/test/1.jpg", 3)
    source = find_source(str(tmp_path / "set"))
    assert len(source.parts["val"]) == 10 and any("have no labels" in line for line in source.findings)
    assert len(find_source(str(tmp_path / "set"), 0.04).parts["val"]) == 2


@pytest.mark.parametrize("name", ["imagenet", "cocodetection", "kinetics", "emnist"])
def test_sets_of_torchvision_that_need_more_get_a_line(tmp_path, name):
    with pytest.raises(UserError, match=name):
        find_source(name, downloads=tmp_path)


def test_the_contests_own_numbers_are_not_taken_for_folders(tmp_path):
    folder = make_folder(tmp_path / "set", {"train/n01": 20, "train/n02": 20, "val": 0})
    for index in range(4):
        save_picture(folder / "val" / f"v{index}.JPEG", index, "val", format="JPEG")
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("490\n361\n171\n822\n")
    with pytest.raises(UserError, match="LOC_val_solution.csv"):
        find_source(str(folder))
    (folder / "LOC_val_solution.csv").write_text("".join(f"v{index},n0{1 + index % 2}\n" for index in range(4)))
    assert [label for _, label in find_source(str(folder)).parts["val"]] == [0, 1, 0, 1]   # beside it, this one


def test_a_set_of_torchvision_gives_images_and_classes(tmp_path):
    sets = {part: [(demo.draw((part, index)), index % 4) for index in range(count)]
            for part, count in (("train", 100), ("val", 8))}
    source = from_datasets("fake", sets)
    sources.examine(source)
    result = packed(source, 36, tmp_path, quiet=True)
    assert len(result.labels["train"]) == 100 and result.classes == ["0", "1", "2", "3"]
    expected = images.square(sets["train"][7][0], 41)
    np.testing.assert_array_equal(result.images["train"][7], expected)
    with pytest.raises(UserError, match="cifar10 is not in .*--download"):
        find_source("cifar10", downloads=tmp_path / "downloads")
    with pytest.raises(UserError, match="--download fetches it"):
        find_source("Flowers102", downloads=tmp_path / "downloads")
    with pytest.raises(UserError, match="qmnist is not in .*--download fetches it"):   # takes it in **kwargs
        find_source("qmnist", downloads=tmp_path / "downloads")
    with pytest.raises(UserError, match="fer2013 is not in .*torchvision does not fetch it"):
        find_source("fer2013", downloads=tmp_path / "downloads")


def test_a_data_set_whose_download_falls_silent_ends_in_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "fetching", partial(fetching, 0.2))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:   # takes the question, and never answers
        monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", f"http://127.0.0.1:{silent.getsockname()[1]}/x.tar.gz")
        with pytest.raises(UserError, match="cifar10 could not be downloaded to .*timed out"):
            find_source("cifar10", download=True, downloads=tmp_path)


def test_a_folder_may_be_called_as_a_home_would_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "~old", {"a": 2, "b": 2})
    assert find_source("~old").classes == ["a", "b"]


def test_a_word_that_is_neither_folder_nor_set_is_refused():
    with pytest.raises(UserError, match="no such folder.*cifar10"):
        find_source("no-such-set")


# ------------------------------------------------------------------- what folders mean

def dots(folder, *names, count=1):
    """Tiny image files below a folder; a name that is a folder's (cat/) gets `count` of them."""
    for name in names:
        inside = [folder / name / f"{index}.png" for index in range(count)]
        for path in inside if name.endswith("/") else [folder / name]:
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4)).save(path, {".png": "PNG"}.get(path.suffix.lower(), "JPEG"))
    return folder


def held(source):
    """part: class: number of images."""
    return {part: {name: sum(label == number for _, label in items)
                   for number, name in enumerate(source.classes)}
            for part, items in source.parts.items()}


@pytest.mark.parametrize("train, val", [
    ("Training", "Testing"), ("Train", "Val"), ("TRAIN", "VALID"), ("train_images", "val_images"),
    ("train2017", "val2017"),
    ("training_set", "test_set"), ("trainImages", "valImages"), ("seg_train", "seg_test"),
    ("Intel Train", "Intel Test"),
    ("my-train-data", "my-validation-data"), ("imagenette_train", "imagenette_val"), ("训练集", "验证集"),
    ("train", "evaluation"), ("train", "validation"), ("train", "test"), ("train", "valid")])
def test_names_of_parts(tmp_path, train, val):
    classes = [f"{train}/ant/", f"{train}/bee/"]
    source = find_source(str(dots(dots(tmp_path, *classes, count=3), f"{val}/ant/", f"{val}/bee/", count=2)))
    assert held(source) == {"train": {"ant": 3, "bee": 3}, "val": {"ant": 2, "bee": 2}}


def test_of_val_and_test_the_first_holds_out(tmp_path):
    parts = ("Train", "Val", "Test")
    names = [f"{part}/{name}/" for part in parts for name in ("ant", "bee")]
    source = find_source(str(dots(tmp_path, *names)))
    assert {path.parts[-3] for path, _ in source.parts["val"]} == {"Val"}


def test_a_doubled_folder_is_looked_through(tmp_path):
    names = [f"seg_{part}/seg_{part}/{name}/" for part in ("train", "test") for name in ("ant", "bee")]
    source = find_source(str(dots(tmp_path / "t", *(f"t/{name}" for name in names), "t/seg_pred/seg_pred/")))
    assert held(source) == {"train": {"ant": 1, "bee": 1}, "val": {"ant": 1, "bee": 1}}
    assert any("seg_pred/ beside seg_train/ are left alone" in finding for finding in source.findings)
    flat = dots(tmp_path / "u", *(f"train/train/{name}.{index}.jpg" for name in ("cat", "dog")
                                  for index in range(3)))
    assert find_source(str(flat)).classes == ["cat", "dog"]


def test_a_second_training_part_is_not_lost_without_a_word(tmp_path):
    parts = ("train", "Training", "val", "test", "extra")
    names = [f"{part}/{name}/" for part in parts for name in ("ant", "bee")]
    source = find_source(str(dots(tmp_path, *names)))
    assert held(source)["train"] == {"ant": 1, "bee": 1}
    assert any("Training/, extra/ beside train/ are left alone" in finding for finding in source.findings)


def test_parts_inside_the_classes(tmp_path):
    names = [f"{name}/{part}/" for name in ("cat", "dog") for part in ("train", "val")]
    assert held(find_source(str(dots(tmp_path, *names)))) == {"train": {"cat": 1, "dog": 1},
                                                              "val": {"cat": 1, "dog": 1}}


def test_words_that_are_no_parts_stay_classes(tmp_path):
    names = ["bus", "freight_train", "latest", "steam_train", "test_tube", "valley"]
    assert find_source(str(dots(tmp_path, *(f"{name}/" for name in names), count=2))).classes == names


@pytest.mark.parametrize("names, said", [
    (["test/", "cat/", "dog/"], "holds test/ but no train folder"),
    (["Valid/ant/", "Valid/bee/"], "holds Valid/ but no train folder; --evaluate"),
    (["bus/", "car/", "train/"], "3 image.s. in .*train have no classes"),
    (["color/a/", "color/b/", "grayscale/a/", "grayscale/b/"],
     "hold the same folders, a/, b/: .*give one, --data .*color")])
def test_classes_that_look_like_parts_are_refused_with_a_way_out(tmp_path, names, said):
    folder = dots(tmp_path / "set", *names, count=3)
    advice = "classes: put all class folders into a folder called train and give the one above"
    with pytest.raises(UserError, match=f"{said}.* {advice}"):
        find_source(str(folder))
    (tmp_path / "above").mkdir()
    (tmp_path / "above/train").symlink_to(folder)
    if len(list(folder.iterdir())) > 1:
        assert find_source(str(tmp_path / "above")).classes == sorted(path.name for path in folder.iterdir())


def test_a_class_called_train_of_photographs_that_cameras_numbered_is_refused(tmp_path):
    folder = dots(tmp_path, "bus/", "car/", count=3)
    (folder / "train").mkdir()
    for name in ("DSC_0000.png", "DSC_0001.png", "IMG_0002.png", "IMG_0003.png"):
        shutil.copy(next((folder / "bus").iterdir()), folder / "train" / name)
    with pytest.raises(UserError, match="holds bus/, car/ beside train/, whose pictures lie in no class folders.*"
                                        "If bus/, car/, train/ are classes: put all class folders into"):
        find_source(str(folder))


def test_parts_of_several_classes_side_by_side_are_refused(tmp_path):
    with pytest.raises(UserError, match="parts of several classes.*train/cat"):
        find_source(str(dots(tmp_path, "cats_train/", "cats_test/", "dogs_train/", "dogs_test/")))


@pytest.mark.parametrize("pattern, classes", [
    ("{0}-2024-01-{1:02}_{2}.jpg", ["cat", "dog"]), ("{0}_202401{1:02}_12301{2:02}.jpg", ["cat", "dog"]),
    ("{0}-2024.01.{1:02}.jpg", ["cat", "dog"]), ("{0} ({2}).jpg", ["cat", "dog"]),
    ("{0}-{1}-{2}.png", ["cat", "dog"]),
    ("{0}_{1:03}_aug_{3}.jpg", ["cat", "dog"]), ("n0144076{3}_{2}.JPEG", ["n01440760", "n01440761"]),
    ("type_{3}_{2:04}.png", ["type_0", "type_1"]),
    ("{2:032x}.png", [])])
def test_flat_names_give_the_class_before_numbers_and_dates(pattern, classes):
    files = [Path(pattern.format(["cat", "dog"][i % 2], i % 28 + 1, i * 1234567891234567, i % 2))
             for i in range(40)]
    assert sorted(by_name(files)) == classes


def test_flat_names_of_the_validation_part_follow_the_known_classes():
    files = [Path(f"{name}_{i}_{i * 7}.png") for i in range(3) for name in ("type", "kind")]
    assert sorted(by_name(files, {"type_0", "kind_2"})) == [f"{name}_{i}" for name in ("kind", "type")
                                                            for i in range(3)]


# One of each: nothing that data/README.md promises may be refused.
SHAPES = {
    "two parts": ["train/cat/1.jpg", "train/dog/1.jpg", "val/cat/2.jpg", "val/dog/2.jpg"],
    "class folders": ["cat/1.jpg", "cat/2.jpg", "dog/1.jpg", "dog/2.jpg"],
    "flat": ["cat.0.jpg", "cat.1.jpg", "dog_12.png", "dog_13.png", "stray.png"],
    "flat in train": ["train/cat.0.jpg", "train/cat.1.jpg", "train/dog_12.png", "train/dog_13.png"],
    "doubled": ["seg_train/seg_train/cat/1.jpg", "seg_train/seg_train/dog/1.jpg",
                "seg_test/seg_test/cat/2.jpg",
                "seg_test/seg_test/dog/2.jpg"],
    "parts in classes": ["cat/train/1.jpg", "cat/val/2.jpg", "dog/train/1.jpg", "dog/val/2.jpg"],
    "imagenet": ["train/cat/1.JPEG", "train/dog/1.JPEG", "val/ILSVRC2012_val_00000001.JPEG",
                 "val/ILSVRC2012_val_00000002.JPEG"],
    "tiny": ["train/cat/images/1.JPEG", "train/dog/images/1.JPEG", "val/images/val_0.JPEG",
             "val/images/val_1.JPEG"],
    "listed": ["photos/1.jpg", "photos/2.jpg", "photos/3.jpg", "photos/4.jpg"]}
LISTED = {
    "imagenet": ("LOC_val_solution.csv",
                 "ImageId,PredictionString\nILSVRC2012_val_00000001,cat 1 2 3 4\n"
                 "ILSVRC2012_val_00000002,dog 1 2 3 4 \n"),
    "tiny": ("val/val_annotations.txt", "val_0.JPEG\tcat\t0\t0\t62\t62\nval_1.JPEG\tdog\t0\t0\t62\t62\n"),
    "listed": ("list.csv", "image,label\n1,cat\n2,cat\n3,dog\n4,dog\n")}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_of_the_readme(tmp_path, shape):
    folder = dots(tmp_path / "set", *SHAPES[shape])
    name, text = LISTED.get(shape, ("notes.txt", "nothing"))
    (folder / name).write_text(text)
    source = find_source(str(folder), labels=str(folder / name) if shape == "listed" else None)
    assert held(source) == {part: {"cat": 1, "dog": 1} for part in ("train", "val")}


# ------------------------------------------------------------------- files: links, suffixes, the rest

def test_links_are_followed_in_training_and_classifying_and_loops_end(tmp_path):
    store = dots(tmp_path / "store", "1/", "2/", "more/deep/", count=3)
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "cat").symlink_to(store / "1")
    (folder / "dog").symlink_to(store / "2")
    (store / "2/more").symlink_to(store / "more")
    for loop, target in (("1/all", folder), ("1/self", store / "1"), ("more/up", store / "2")):
        (store / loop).symlink_to(target)
    (folder / "loop").symlink_to(folder)
    assert held(find_source(str(folder), 0.3))["train"] == {"cat": 2, "dog": 4}
    pictures, others = find_pictures([str(folder)])
    assert len(pictures) == len(set(pictures)) == 9 and not others


def test_links_to_themselves_are_said_and_pipes_and_sockets_are_not_opened(tmp_path, monkeypatch):
    folder = dots(tmp_path / "set", *(f"{name}/{index}.png" for name in ("cat", "dog") for index in range(5)))
    for link in (folder / "me", folder / "cat" / "loop.png"):
        link.symlink_to(link.name)
    (folder / "cat" / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(folder / "cat" / "pipe.jpg")   # to open it would wait for a writer for ever
    os.mkfifo(folder / "dog" / "pipe")
    monkeypatch.chdir(folder / "dog")   # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as place:
        place.bind("socket.png")
    source = find_source(str(folder))
    assert len(source.parts["train"] + source.parts["val"]) == 10
    assert any("2 file(s) cannot be reached, such as" in finding for finding in source.findings)
    assert len(Folder(folder).all_images()) == 12   # each link is an error of its own in classifying


def test_a_run_within_the_data_is_no_class(tmp_path):
    folder = dots(tmp_path / "set", *(f"{name}/{index}.png" for name in ("cat", "dog") for index in range(5)),
                  "results/runs/a/curves.png", "page/gradient.png", "cat/run/curves.png")
    for name in ("results/runs/a/config.json", "results/runs/a/metrics.csv", "page/captions.json",
                 "page/index.html",
                 "cat/run/config.json", "cat/run/metrics.csv"):
        (folder / name).write_text("x")
    source = find_source(str(folder))
    assert source.classes == ["cat", "dog"] and len(source.parts["train"] + source.parts["val"]) == 10
    assert len(Folder(folder).all_images()) == 10 and len(Folder(folder / "page").all_images()) == 1


def test_a_class_spelt_in_another_way_in_the_other_part_is_the_same(tmp_path):
    spelt = {"Cat": "cat", "caf\u00e9": "cafe\u0301", "dog ": "dog", "Ant": "Ant", "ant": "ant"}
    for pair in spelt.items():
        folder = dots(tmp_path, *(f"{part}/{name}/{index}.png" for part, name in zip(("train", "val"), pair)
                                  for index in range(2)))
    source = find_source(str(folder))
    assert source.classes == sorted(spelt) and not any("lacks" in finding for finding in source.findings)
    counts = Counter(source.classes[label] for _, label in source.parts["val"])
    assert counts == dict.fromkeys(spelt, 2)


def test_every_suffix_that_pillow_opens_counts_and_the_rest_is_counted(tmp_path):
    folder = dots(tmp_path, "dog/1.png", "dog/2.png", *(f"cat/x{suffix}" for suffix in (
        ".jfif", ".JPE", ".avif", ".heic", ".jp2", ".tga", ".mpo", "", ".1", ".jpg?w=200")))
    dots(folder, "cat/@eaDir/x.jpg", "cat/.hidden.png", "cat/Thumbs.db")
    for name in ("film.mp4", "notes.txt", "README", "data.h5"):
        (folder / "cat" / name).write_text("nothing")
    source = find_source(str(folder))
    assert sum(counts["cat"] for counts in held(source).values()) == 10
    said, = (finding for finding in source.findings if "left out" in finding)
    assert said.startswith("4 file(s) of other kinds (") and all(
        f"1 {kind}" in said for kind in (".mp4", ".txt", "without suffix", ".h5"))
    pictures, others = find_pictures([str(folder)])
    assert len(pictures) == 12 and others == {".mp4": 1, ".txt": 1, "without suffix": 1, ".h5": 1}


def test_a_class_of_heic_files_is_not_empty(tmp_path):
    source = find_source(str(dots(tmp_path, "cat/1.HEIC", "cat/2.heic", "dog/1.png", "dog/2.png")))
    assert source.classes == ["cat", "dog"] and not any("empty" in finding for finding in source.findings)


# ------------------------------------------------------------------- lists of labels

CASES = {
    "numbers of folders called 1, 2, 3": ("a.png 0\nb.png 1\nc.png 2", "123",
                                          {"a.png": "1", "b.png": "2", "c.png": "3"}),
    "names of folders called 1, 2, 3": ("a.png 1\nb.png 2\nc.png 3", "123",
                                        {"a.png": "1", "b.png": "2", "c.png": "3"}),
    "two images of one stem": ("a.png cat\na.jpg dog", "", {"a.png": "cat", "a.jpg": "dog"}),
    "one name in two folders": ("x/1.png,cat\ny/1.png,dog", "", {"x/1.png": "cat", "y/1.png": "dog"}),
    "blanks in a name": ("my photo 1.jpg,cat", "", {"my photo 1.jpg": "cat"}),
    "blanks in a name and no comma": ("my photo 1.jpg cat", "", {"my photo 1.jpg": "cat"}),
    "quotes": ('"a.png","cat"', "", {"a.png": "cat"}),
    "quotes with a comma": ('"a, b.png","cat"', "", {"a, b.png": "cat"}),
    "blanks in a class": ("a.png,sea side\nb.png,sea", "", {"a.png": "sea side", "b.png": "sea"}),
    "blanks in a class and no comma": ("a.png sea side\nb.png sea", "",
                                       {"a.png": "sea side", "b.png": "sea"}),
    "pandas": (",image,label\n0,a.png,cat\n1,b.png,dog", "", {"a.png": "cat", "b.png": "dog"}),
    "pandas without titles": ("0,a.png,cat\n1,b.png,dog", "", {"a.png": "cat", "b.png": "dog"}),
    "Excel": ("a.png;cat\r\nb.png;dog\r\n", "", {"a.png": "cat", "b.png": "dog"}),
    "the class first": ("label,file_name\ncat,a.png\ndog,b.png", "", {"a.png": "cat", "b.png": "dog"}),
    "an id and a name": ("class_id,class_name,Path\n7,cat,a.png\n9,dog,b.png", "",
                         {"a.png": "cat", "b.png": "dog"}),
    "paths of another machine": ("/home/x/val/a.png,cat\nC:\\val\\b.png,dog", "",
                                 {"a.png": "cat", "b.png": "dog"}),
    "without suffix": ("a,cat\nb,dog", "", {"a.png": "cat", "b.png": "dog"}),
    "another suffix": ("a.JPEG,cat\nb.JPEG,dog", "", {"a.png": "cat", "b.png": "dog"}),
    "old Mac's line ends": ("a.png,cat\rb.png,dog\r", "", {"a.png": "cat", "b.png": "dog"}),
    "tabs and boxes": ("a.png\tcat\t0\t0\t62\nb.png\tdog\t0\t0\t62", "", {"a.png": "cat", "b.png": "dog"}),
    "letters that a Mac writes in two pieces": ("caf\u00e9.png,cat", "", {"cafe\u0301.png": "cat"}),
    "other capital letters": ("A.PNG,cat\nX/B.Png,dog", "", {"a.png": "cat", "x/b.png": "dog"}),
    "capital letters that matter": ("a,cat\nA,dog\nx/b,cat\nX/b,dog", "",
                                    {"a.png": "cat", "A.png": "dog", "x/b.png": "cat", "X/b.png": "dog"}),
    "empty rows of a table program": ("image;label;;\na.png;cat;;\nb.png;dog;;\n;;;\n;;;\n", "",
                                      {"a.png": "cat", "b.png": "dog"}),
    "titles in Chinese": ("文件名,宽度,类别\na.png,480,cat\nb.png,480,dog\nc.png,640,cat", "",
                          {"a.png": "cat", "b.png": "dog", "c.png": "cat"}),
    "names with points": ("v.1,cat\nv.2,dog", "", {"v.1.png": "cat", "v.2.png": "dog"})}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lists_of_labels_are_understood(tmp_path, case, encoding):
    text, classes, expected = CASES[case]
    (tmp_path / "list.txt").write_bytes(text.encode(encoding))
    found = read_list(tmp_path / "list.txt", [tmp_path / name for name in expected], tmp_path,
                        list(classes) or ["cat", "dog", "sea", "sea side"])
    names = {path.relative_to(tmp_path).as_posix(): name for path, name in found.labels.items()}
    assert names == expected and not found.lost


def test_a_missing_image_is_not_taken_from_another_folder(tmp_path):
    """test/3.png is not what a list calls train/3.png, though nothing else has that name."""
    files = [tmp_path / name for name in ("train/1.png", "train/2.png", "test/1.png", "test/2.png", "test/3.png")]
    lines = "".join(f"train/{number}.png,{'cat' if number % 2 else 'dog'}\n" for number in (1, 2, 3))
    (tmp_path / "list.csv").write_text(lines)
    found = read_list(tmp_path / "list.csv", files, tmp_path, ["cat", "dog"])
    assert set(found.labels) == set(files[:2])
    assert found.lost == ["line 3 (train/3.png, cat: no such image)"]


def test_a_list_beside_a_flat_part_means_the_images_that_it_names(tmp_path):
    """train/cat/1.png is there, so it is not val/1.png."""
    for name in ("train/cat/1.png", "train/dog/2.png", "val/1.png", "val/2.png"):
        save_picture(tmp_path / name, 0)
    files = [tmp_path / "val/1.png", tmp_path / "val/2.png"]
    lines = "train/cat/1.png,cat\ntrain/dog/2.png,dog\n"
    (tmp_path / "list.csv").write_text(lines)
    assert read_list(tmp_path / "list.csv", files, tmp_path / "val", ["cat", "dog"]) is None
    (tmp_path / "list.csv").write_text(lines + "val/1.png,dog\nval/2.png,cat\n")
    found = read_list(tmp_path / "list.csv", files, tmp_path / "val", ["cat", "dog"])
    assert found.labels == {files[0]: "dog", files[1]: "cat"} and not found.lost


def test_a_list_has_one_reading_and_lines_that_fit_nothing_are_named(tmp_path):
    (tmp_path / "list.csv").write_text("a.png,cat\nb.png,1\nc.png,dog\nd.png,dog\na,dog\n"
                                       "x/e.png,cat\ne.png,cat\n")
    files = [tmp_path / name for name in ("a.png", "b.png", "c.png", "x/e.png", "y/e.png")]
    found = read_list(tmp_path / "list.csv", files, tmp_path, ["cat", "dog"])
    assert {path.name: name for path, name in found.labels.items()} == {"c.png": "dog", "e.png": "cat"}
    assert found.lost == ["line 2 (b.png, 1: no such class)", "line 4 (d.png, dog: no such image)",
                          "line 5 (a, dog: another class than before)", "line 7 (e.png, cat: 2 such images)"]


def test_numbers_that_count_from_one_are_refused(tmp_path):
    (tmp_path / "list.txt").write_text("a.png 1\nb.png 2\n")
    with pytest.raises(UserError, match="has the number 2 for a class.*from 0"):
        read_list(tmp_path / "list.txt", [tmp_path / "a.png", tmp_path / "b.png"], tmp_path, ["cat", "dog"])


def test_a_list_in_the_place_of_a_folder_is_told_where_it_belongs(tmp_path):
    (tmp_path / "list.csv").write_text("1.png,cat")
    with pytest.raises(UserError, match="is a file; .*--data FOLDER --labels .*list.csv"):
        find_source(str(tmp_path / "list.csv"))


def test_labels_of_a_folder_from_a_list(tmp_path):
    folder = dots(tmp_path / "set", *(f"raw/{index}.png" for index in range(12)))
    for title, text, expected in (
            ("names", "image,label\n{}.png,{}", {"train": {"cat": 5, "dog": 5}, "val": {"cat": 1, "dog": 1}}),
            ("parts of AutoML", "x,x,x\n{2},gs://bucket/raw/{0}.png,{1}",
             {"train": {"cat": 4, "dog": 4}, "val": {"cat": 2, "dog": 2}}),
            ("parts", "id;class;split\n{};{};{}",
             {"train": {"cat": 4, "dog": 4}, "val": {"cat": 2, "dog": 2}})):
        head, line = text.split("\n")
        (tmp_path / "list.csv").write_text("\n".join([head] + [line.format(
            index, ("cat", "dog")[index % 2], "train" if index < 8 else "valid") for index in range(12)]))
        source = find_source(str(folder), labels=str(tmp_path / "list.csv"))
        assert held(source) == expected and not [finding for finding in source.findings
                                                 if "fewer" not in finding], title
    other = find_source(str(folder), 0.25, labels=str(tmp_path / "list.csv"))
    # its val rows are left alone
    assert held(other) == {"train": {"cat": 3, "dog": 3}, "val": {"cat": 1, "dog": 1}}
    (tmp_path / "list.csv").write_text((tmp_path / "list.csv").read_text().replace("cat", "car"))
    renamed = find_source(str(folder), labels=str(tmp_path / "list.csv"))
    assert renamed.classes == ["car", "dog"] and renamed.parts == source.parts
    assert renamed.identity != source.identity   # a pack of the old names is no use


@pytest.mark.parametrize("content, said", [
    (b"1.png,cat\n", "only one class"), (b"image,MEL,NV\n1,1.0,0.0\n2,0.0,1.0\n3,0.0,1.0\n",
                                         "gives no image in .* a class"),
    (b"x.png,cat\n", "gives no image in .* a class"), (b"\x89PNG\r\n\x1a\n\0", "not a text"),
    ("id,class\n1,\u8682\u8681\n2,dog\n".encode("gbk"), "not UTF-8"),
    (b"id,class,part\n1,a,test\n2,b,test\n", "no image of a training part"),
    (None, "there is no such file")])
def test_lists_that_cannot_be_used_get_a_line(tmp_path, content, said):
    folder = dots(tmp_path / "set", "1.png", "2.png")
    if content:
        (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(UserError, match=said):
        find_source(str(folder), labels=str(tmp_path / "list.csv"))
    with pytest.raises(UserError, match="--labels needs --data FOLDER.*./demo"):
        find_source("demo", labels=str(tmp_path / "list.csv"))


@pytest.mark.parametrize("names", [["图片1.png", "图片2.png"], ["1.png", "2.png", "图片3.png"], ["照片.png", "2.png"]])
def test_a_list_in_gbk_is_told_to_be_saved_as_utf8(tmp_path, names):
    """As Excel saves CSV files in China; the bytes of some such names pass for UTF-8."""
    folder = dots(tmp_path / "set", *names)
    lines = "".join(f"{name},{number % 2}\n" for number, name in enumerate(names))
    (tmp_path / "list.csv").write_bytes(lines.encode("gbk"))
    with pytest.raises(UserError, match="list.csv is in GBK: save it as UTF-8"):
        find_source(str(folder), labels=str(tmp_path / "list.csv"))
    (tmp_path / "list.csv").write_text(lines, encoding="utf-8")
    assert len(read_list(tmp_path / "list.csv", sorted(folder.iterdir()), folder).labels) == len(names)


def test_a_list_whose_titles_alone_are_in_gbk_is_not_read_by_another_column(tmp_path):
    folder = dots(tmp_path / "set", "a.png", "b.png", "c.png")
    text = "文件名,宽度,类别\na.png,480,cat\nb.png,480,dog\nc.png,640,cat\n"
    (tmp_path / "list.csv").write_bytes(text.encode("gbk"))
    with pytest.raises(UserError, match="is in GBK"):
        read_list(tmp_path / "list.csv", sorted(folder.iterdir()), folder)


@pytest.mark.parametrize("names, near, said", [
    (["train/1.jpg", "train/2.jpg"], "train.csv",
     "2 image.s. in .*train have no classes.*1.jpg.*add --labels .*train.csv"),
    ([f"train/{hash(str(i)) % 16 ** 8:08x}7.jpg" for i in range(40)], "labels.csv",
     "have no classes.*add --labels .*labels.csv"),
    (["photos/1.jpg", "photos/2.jpg"], "list.csv", "only one class.*add --labels .*list.csv"),
    ([], "film.mp4", "no image in .*cat.0.jpg")])
def test_a_folder_without_classes_is_told_what_it_is_near(tmp_path, names, near, said):
    dots(tmp_path, *names)
    (tmp_path / near).write_text("nothing")
    with pytest.raises(UserError, match=said):
        find_source(str(tmp_path))


# ------------------------------------------------------------------- what looks odd

def findings(folder, tmp_path, **options):
    return " | ".join(pack(folder, tmp_path, **options).findings)


def test_one_class_stops(tmp_path):
    with pytest.raises(UserError, match="only one class.*nothing to tell"):
        find_source(str(make_folder(tmp_path / "set", {"train/disc": 20, "val/disc": 3})))


def test_a_level_too_deep_is_said_with_the_right_folder(tmp_path):
    folder = make_folder(tmp_path / "set", {"all/disc": 20, "all/star": 20})
    with pytest.raises(UserError, match=f"only one class.*give --data {folder / 'all'}$"):
        find_source(str(folder))
    folder = make_folder(tmp_path / "deep", {"set/train/disc": 20, "set/train/star": 20, "set/val/disc": 2})
    with pytest.raises(UserError, match=f"only one class.*give --data {folder / 'set'}$"):
        find_source(str(folder))


def test_a_level_too_low_is_said_with_the_right_folder(tmp_path):
    folder = make_folder(tmp_path / "set", {"disc": 4, "star": 4})
    for number, path in enumerate(sorted((folder / "disc").iterdir())):
        path.rename(folder / "disc" / f"disc-{number}.png")
    with pytest.raises(UserError, match=f"only one class.*give --data {folder}$"):
        find_source(str(folder / "disc"))
    flat = tmp_path / "above" / "flat"
    flat.mkdir(parents=True)
    for name in ("cat.0.png", "cat.1.png", "dog.0.png"):
        save_picture(flat / name, 0)
    with pytest.raises(UserError, match=f"only one class.*give --data {flat}$"):
        find_source(str(flat.parent))


def test_the_folder_of_one_class_is_refused_though_its_files_have_other_names(tmp_path):
    folder = tmp_path / "set/n01440764"
    folder.mkdir(parents=True)
    for number in range(4):
        save_picture(folder / f"n01440764_{number}.png", 0)
        save_picture(folder / f"ILSVRC2012_val_{number}.png", 0)
    with pytest.raises(UserError, match="named like a class of its own images .* Give the one above it"):
        find_source(str(folder))
    measured = sources.to_measure(folder, ["n01440764", "n02102040"])   # there it says what the class is
    assert [label for _, label in measured.parts["val"]] == [0] * 8
    assert not any("left out" in finding for finding in measured.findings)
    flat = make_folder(tmp_path / "sets/cat", {".": 0})
    for name in ("cat.0.png", "cat.1.png", "dog.0.png"):
        save_picture(flat / name, 0)
    with pytest.raises(UserError, match="only one class in sets"):
        find_source(str(flat.parent))   # and does not send back to flat


@pytest.mark.parametrize("inside, labels, count", [
    ({"cat": 2, "dog": 3, "bird": 1}, None, [2, 3]), ({"cat": 2, "dog": 3, "notes": 0}, None, [2, 3]),
    ({"2019": 2, "2020": 1}, None, [3, 0]),
    ({"x": 4}, "image,label\nx/0.png,cat\nx/1.png,dog\nx/2.png,bird\n", [1, 1])])
def test_a_folder_named_like_a_class_is_measured_by_the_classes_in_it(tmp_path, inside, labels, count):
    folder = make_folder(tmp_path / "cat", inside)
    if labels:
        (tmp_path / "list.csv").write_text(labels)
    found = sources.to_measure(folder, ["cat", "dog"], labels and str(tmp_path / "list.csv")).parts["val"]
    assert [sum(label == number for _, label in found) for number in (0, 1)] == count


def test_data_sets_side_by_side_are_no_classes(tmp_path):
    par = make_folder(tmp_path / "par", {f"set{one}/{part}/{name}": 2 for one in "AB" for part in ("train", "val")
                                         for name in ("cat", "dog")})
    make_folder(par, {"pictures": 3})
    with pytest.raises(UserError, match=f"setA/, setB/ in {par} have train/ with .*give one, --data {par / 'setA'}"):
        find_source(str(par))
    parts_below = make_folder(tmp_path / "below", {f"{name}/{part}": 2 for name in ("cat", "dog") for part in ("train", "val")})
    assert find_source(str(parts_below)).classes == ["cat", "dog"]
    patients = make_folder(tmp_path / "patients", {
        f"{name}/{part}/{one}": 1 for name in ("ill", "well")
        for part, several in (("train", ("p1", "p2", "2019", "2020")), ("val", ("p3", "2019", "2020"))) for one in several})
    source = find_source(str(patients))
    assert source.classes == ["ill", "well"] and len(source.parts["val"]) == 6


def test_a_class_in_whose_folder_we_wrote_is_missed_aloud(tmp_path):
    folder = make_folder(tmp_path / "set", {"a": 4, "b": 4, "c": 4})
    for name in ("captions.json", "index.html"):
        (folder / "c" / name).write_text("{}")
    assert f"c/ in {folder} hold a run or figures of this project: left out" in findings(folder, tmp_path)
    pictures, others = find_pictures([str(folder)])
    for name in ("captions.json", "index.html"):
        (make_folder(tmp_path / "parts", {"train/a": 4, "train/b": 4, "val/a": 1}) / "train" / name).write_text("{}")
    with pytest.raises(UserError, match="train/ in .* hold a run or figures of this project.* move those files"):
        find_source(str(tmp_path / "parts"))
    assert len(pictures) == 8 and others == {"folder with a run or figures": 1}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may open every folder")
def test_a_class_that_may_not_be_opened_is_not_called_empty(tmp_path):
    folder = make_folder(tmp_path / "set", {"a": 4, "b": 4, "c": 4})
    (folder / "c").chmod(0)
    try:
        assert "class c cannot be opened: left out" in findings(folder, tmp_path)
    finally:
        (folder / "c").chmod(0o700)


def test_pictures_of_no_class_are_said(tmp_path):
    folder = make_folder(tmp_path / "set", {"disc": 4, "star": 4})
    save_picture(folder / "stray.png", 0)
    assert "1 picture(s)" in findings(folder, tmp_path) and "such as stray.png" in findings(folder, tmp_path)


def test_one_image_a_class_cannot_be_split(tmp_path):
    folder = make_folder(tmp_path / "set", {"disc": 1, "star": 1})
    for fraction in (None, 0.5):
        with pytest.raises(UserError, match="each class has one image only"):
            find_source(str(folder), fraction)


def test_subfolders_of_a_class_are_said(tmp_path):
    folder = make_folder(tmp_path / "set", {"a/disc": 20, "a/star": 20, "b/x": 20, "b/y": 20})
    assert "class a holds images in 2 subfolders" in findings(folder, tmp_path)


def test_class_folders_that_differ_are_said(tmp_path):
    folder = make_folder(tmp_path / "set", {"train/disc": 20, "train/star": 20, "val/disc": 3, "val/moon": 2})
    text = findings(folder, tmp_path)
    assert "val/ has 1 class(es) that train/ lacks (moon)" in text
    assert "val/ has no images of 1 class(es) that train/ has (star)" in text


def test_a_validation_part_without_any_known_class_stops(tmp_path):
    folder = make_folder(tmp_path / "set", {"train/disc": 20, "train/star": 20, "val/moon": 2})
    with pytest.raises(UserError, match="no image of a class that train/ has"):
        find_source(str(folder))


def test_an_empty_class_is_said_and_left_out(tmp_path):
    folder = make_folder(tmp_path / "set", {"disc": 20, "star": 20, "moon": 0})
    assert "class moon is empty" in findings(folder, tmp_path)
    assert find_source(str(folder)).classes == ["disc", "star"]


def test_the_same_picture_in_both_parts_is_said(tmp_path):
    folder = make_folder(tmp_path / "set", {"train/disc": 20, "train/star": 20, "val/disc": 2, "val/star": 2})
    (folder / "val/star/copy.png").write_bytes((folder / "train/star/3.png").read_bytes())
    assert "1 validation image(s) are in the training part" in findings(folder, tmp_path)


def test_too_few_images_are_said(tmp_path):
    folder = make_folder(tmp_path / "set", {"disc": 8, "star": 40})
    assert "fewer than 20 training images (disc)" in findings(folder, tmp_path)


def test_an_empty_folder_says_what_it_must_hold(tmp_path):
    with pytest.raises(UserError, match="no image in .*cat.0.jpg"):
        find_source(str(tmp_path))


# ------------------------------------------------------------------- the built-in set

def test_demo_pictures_follow_from_their_keys_and_parts_differ():
    assert demo.draw(("train", 7)).tobytes() == demo.draw(("train", 7)).tobytes()
    assert demo.draw(("train", 7)).tobytes() != demo.draw(("val", 7)).tobytes()
    assert len(demo.items("train")) >= 2000 and len(demo.items("val")) >= 500
    assert len({label for _, label in demo.items("val")}) == 10


def test_a_linear_classifier_on_pixels_does_not_solve_the_demo():
    def part(name, count):
        pixels = np.stack([np.asarray(demo.draw((name, i)).resize((24, 24)), np.float32).ravel()
                           for i in range(count)])
        return torch.from_numpy(pixels / 128 - 1), torch.arange(count) % 10
    train, labels = part("train", 1500)
    val, answers = part("val", 500)
    linear = torch.nn.Linear(train.shape[1], 10)
    optimizer = torch.optim.Adam(linear.parameters(), 1e-3, weight_decay=1e-3)
    for _ in range(150):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(linear(train), labels).backward()
        optimizer.step()
    right = (linear(val).argmax(1) == answers).float().mean().item()
    assert (linear(train).argmax(1) == labels).float().mean() > 0.5  # it did learn its training set
    assert right < 0.6


def test_samples_are_what_demo_draws():
    files = sorted((ROOT / "data/samples").glob("*-[0-9]*.png"))
    assert len(files) == 16
    for (key, label), path in zip(demo.items("samples"), sorted(files, key=lambda path: path.stem[-2:]),
                                  strict=True):
        assert path.stem.startswith(demo.CLASSES[label])
        np.testing.assert_array_equal(np.asarray(Image.open(path)), np.asarray(demo.draw(key)))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux has it")
def test_a_process_that_may_use_one_core_uses_one():
    program = ("import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
               "from alexnet.threads import cores; print(cores())")
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "1\n", done.stderr


def test_the_packed_side_is_256_for_224_and_in_proportion_rounded():
    assert [images.packed_side(side) for side in (48, 97, 128, 224, 227)] == [55, 111, 146, 256, 259]


def test_dim_is_what_does_not_reach_a_quarter():
    for value, dim in ((16_383, True), (16_384, False)):
        assert ("dim" in open_image(values_file(np.full((4, 4), value, np.uint16), "PNG")).info) == dim


def test_strict_takes_no_pack_from_which_something_was_left_out(tmp_path):
    folder = make_folder(tmp_path / "set", {"disc": 10, "star": 10})
    (folder / "disc/empty.png").write_bytes(b"")
    source = find_source(str(folder))
    assert len(packed(source, 36, tmp_path / "cache", quiet=True).skipped) == 1
    with pytest.raises(UserError, match="empty.png cannot be read"):
        packed(source, 36, tmp_path / "cache", strict=True, quiet=True)


def test_the_disk_must_hold_every_pixel(tmp_path, monkeypatch):
    source = find_source(str(make_folder(tmp_path / "set", {"disc": 20, "star": 20})))
    need = 40 * 41 * 41 * 3
    for free in (need - 1, need):
        monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=free))
        if free < need:
            with pytest.raises(UserError, match="GiB free.*--cache names another"):
                packed(source, 36, tmp_path / "cache", quiet=True)
            assert not list((tmp_path / "cache").iterdir())
    assert packed(source, 36, tmp_path / "cache", quiet=True).images["train"].shape[1] == 41


def test_content_is_of_classes_and_pixels_wherever_they_lie(tmp_path):
    def content(folder):
        return packed(find_source(str(folder)), 36, tmp_path / "cache", quiet=True).content
    folder = make_folder(tmp_path / "set", {"train/disc": 6, "train/star": 6, "val/disc": 2, "val/star": 2})
    before = content(folder)
    moved = folder.rename(tmp_path / "moved")
    assert content(moved) == before
    for part in ("train", "val"):   # the same pictures in the same order, of other classes
        (moved / part / "disc").rename(moved / part / "alpha")
        (moved / part / "star").rename(moved / part / "beta")
    assert not set(content(moved).values()) & set(before.values())


def test_a_pack_of_moved_images_has_their_name_of_now(tmp_path):
    folder = make_folder(tmp_path / "set", {"disc": 6, "star": 6})
    first = packed(find_source(str(folder)), 36, tmp_path / "cache", quiet=True)
    moved = packed(find_source(str(folder.rename(tmp_path / "new"))), 36, tmp_path / "cache", quiet=True)
    assert (moved.folder, moved.name) == (first.folder, "new")


# ------------------------------------------------------------------- promises that no other test holds

def test_a_blank_between_comma_and_quotation_mark_belongs_to_neither(tmp_path):
    (tmp_path / "list.csv").write_text('"a.png", "cat"\n"b.png", "dog, wild"\n')
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    assert list(read_list(tmp_path / "list.csv", files, tmp_path).labels.values()) == ["cat", "dog, wild"]


def test_numbers_in_a_column_that_is_not_beside_the_image_are_no_classes(tmp_path):
    (tmp_path / "list.csv").write_text("a.png,red,0\nb.png,blue,1\n")   # folds, perhaps
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    assert read_list(tmp_path / "list.csv", files, tmp_path, ["cat", "dog"]) is None


def test_what_a_mac_leaves_beside_a_list_is_none(tmp_path):
    for name in ("._labels.csv", "labels.CSV", "labels.doc"):
        (tmp_path / name).write_text("x")
    assert [path.name for path in lists_in(tmp_path)] == ["labels.CSV"]


def test_whole_numbers_with_a_point_are_numbers(tmp_path):
    """pandas writes 1.0 where a cell of the column is empty."""
    (tmp_path / "list.csv").write_text("image,label\na.png,0.0\nb.png,1.0\nc.png,\n")
    files = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    found = read_list(tmp_path / "list.csv", files, tmp_path, ["cat", "dog"])
    assert list(found.labels.values()) == ["cat", "dog"]


def test_a_line_without_suffix_that_fits_nothing_is_no_title(tmp_path):
    (tmp_path / "list.csv").write_text("id,label\na,cat\nb,dog\nmissing,cat\n")
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    found = read_list(tmp_path / "list.csv", files, tmp_path, ["cat", "dog"])
    assert found.lost == ["line 4 (missing, cat: no such image)"]


def test_a_class_called_train_is_no_part_to_a_network_that_knows_it(tmp_path):
    folder = dots(tmp_path, "bus/", "car/", "train/", count=2)
    assert measured_part(folder, ["bus", "car", "train"], None) == folder
    assert measured_part(folder, ["bus", "car"], None) == folder / "train"


def test_years_within_classes_are_no_classes(tmp_path):
    folder = dots(tmp_path, *(f"{name}/{year}/" for name in ("cat", "dog") for year in (1999, 2024)), count=2)
    assert find_source(str(folder)).classes == ["cat", "dog"]


def test_parts_in_classes_may_hold_a_folder_of_images(tmp_path):
    names = [f"{name}/{part}/images/" for name in ("cat", "dog") for part in ("train", "val")]
    assert held(find_source(str(dots(tmp_path, *names)))) == {part: {"cat": 1, "dog": 1} for part in ("train", "val")}


def test_flat_names_with_two_numbers_are_of_the_class_before_the_last_if_that_has_many_images():
    files = [Path(f"{name}-{size}-{index:03}.jpg") for name in ("cat", "dog") for size in (1, 2) for index in range(10)]
    assert sorted(by_name(files)) == ["cat-1", "cat-2", "dog-1", "dog-2"]
    assert sorted(by_name(files[::2])) == ["cat", "dog"]


def test_a_class_with_somebody_elses_page_or_config_stays_one(tmp_path):
    folder = dots(tmp_path, "ant/", "bee/", "cat/", count=2)
    for name in ("ant/index.html", "bee/config.json"):
        (folder / name).write_text("{}")
    assert find_source(str(folder)).classes == ["ant", "bee", "cat"]


def test_of_a_list_with_parts_what_is_no_training_is_measured(tmp_path):
    folder = dots(tmp_path / "set", *(f"{index}.png" for index in range(6)))
    rows = [f"{index}.png,{('cat', 'dog')[index % 2]},{'train' if index < 4 else 'test'}" for index in range(6)]
    (tmp_path / "list.csv").write_text("\n".join(["image,label,split", *rows]))
    source = sources.to_measure(folder, ["cat", "dog"], str(tmp_path / "list.csv"))
    assert [(path.name, label) for path, label in source.parts["val"]] == [("4.png", 0), ("5.png", 1)]


def test_a_list_whose_other_part_is_called_test_holds_that_out(tmp_path):
    folder = dots(tmp_path / "set", *(f"{index}.png" for index in range(6)))
    rows = [f"{index}.png,{('cat', 'dog')[index % 2]},{'train' if index < 4 else 'test'}" for index in range(6)]
    (tmp_path / "list.csv").write_text("\n".join(["image,label,split", *rows]))
    source = find_source(str(folder), labels=str(tmp_path / "list.csv"))
    assert held(source) == {"train": {"cat": 2, "dog": 2}, "val": {"cat": 1, "dog": 1}} and source.split is None


def test_classes_of_very_different_size_are_said(tmp_path):
    source = find_source(str(dots(dots(tmp_path, "cat/", count=50), "dog/", count=5)))
    assert "the largest class has 40 training images, the smallest 4: without --balance" in " ".join(source.findings)
    source = find_source(str(dots(tmp_path, "dog/", count=10)))
    assert "--balance" not in " ".join(source.findings)


def test_labels_of_a_set_that_are_not_of_its_images_are_not_taken():
    class Part(list):
        targets = [0, 0, 0, 1]   # of all images, of which it gives some
    picture = demo.draw(("train", 0))
    source = from_datasets("fake", {"train": Part([(picture, 1), (picture, 0)]), "val": None})
    assert [label for _, label in source.parts["train"]] == [1, 0]


def test_a_list_that_names_few_of_the_validation_images_is_not_theirs(tmp_path):
    folder = make_folder(tmp_path / "set", {"train/n01": 20, "train/n02": 20, "val": 0})
    for index in range(6):
        save_picture(folder / "val" / f"v{index}.png", index, "val")
    (folder / "few.txt").write_text("v0.png n01\nv1.png n02\nv2.png n02\n")
    (folder / "val.txt").write_text("".join(f"v{index}.png n0{1 + index % 2}\n" for index in range(6)))
    assert [label for _, label in find_source(str(folder)).parts["val"]] == [0, 1] * 3


def test_classes_of_several_names_are_these_in_a_row():
    """As those of torchvision's ImageNet."""
    class Part(list):
        classes = [("tench", "Tinca tinca"), ("goldfish",)]
    picture = demo.draw(("train", 0))
    source = from_datasets("fake", {"train": Part([(picture, 0), (picture, 1)]), "val": None})
    assert source.classes == ["tench, Tinca tinca", "goldfish"]


def test_a_folder_is_packed_for_each_networks_classes(tmp_path):
    folder = make_folder(tmp_path / "set", {"disc": 2, "star": 2})
    for classes in (["disc", "star", "zebra"], ["disc", "star"]):   # the same files, with the same numbers
        source = sources.to_measure(folder, classes)
        assert packed(source, 36, tmp_path / "cache", quiet=True).classes == classes


def test_a_pack_from_which_something_was_left_out_is_used_again(tmp_path):
    folder = make_folder(tmp_path / "set", {"disc": 10, "star": 10})
    (folder / "disc/empty.png").write_bytes(b"")
    stamps = [os.stat(pack(folder, tmp_path).folder / "pack.json").st_ino for _ in range(2)]
    assert len(pack(folder, tmp_path).skipped) == 1 and stamps[0] == stamps[1]


def test_transparency_stays_in_a_png_that_is_mended():
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30, 200, 0, 0])
    palette.putpixel((1, 1), 1)
    whole = file_of(palette, "PNG", transparency=0).getvalue()
    opened = open_image(io.BytesIO(whole[:33] + chunk(b"tEXt", b"a\0b", 1) + whole[33:]))
    assert opened.getpixel((0, 0)) == (255, 255, 255) and opened.getpixel((1, 1)) == (200, 0, 0)


def test_the_folder_of_one_class_holds_one_whatever_its_files_are_called(tmp_path):
    names = [f"{name}_{index}.png" for name in ("ant", "IMG") for index in range(3)]
    assert several_classes(Folder(dots(tmp_path / "photos", *names)))
    assert not several_classes(Folder(dots(tmp_path / "ant", *names)))
