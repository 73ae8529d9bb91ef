"use strict";
// What explore.html shows; explore.py puts this file and the numbers into it. First the arithmetic: pure
// functions, which tests compare with PyTorch's. Then the panels, then what a person can choose.

// ------------------------------------------------------------------- arithmetic

/** The bytes of a base64 text. */
function bytes(text) {
  return Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
}

/** Rows of numbers kept in 8 bits: low + step * byte, a low and a step for each row. */
function numbers({low, step, bytes: text}) {
  const all = bytes(text), length = all.length / low.length;
  return low.map((lowest, row) => Float32Array.from(
    all.subarray(row * length, (row + 1) * length), byte => lowest + step[row] * byte));
}

/** What the first layer sees of RGB bytes: three planes, less the mean, over the standard deviation. */
function prepare(pixels, {mean, std, size}) {
  const plane = size * size, input = new Float32Array(3 * plane);
  for (let place = 0; place < plane; place++) {
    for (let colour = 0; colour < 3; colour++) {
      input[colour * plane + place] = (pixels[3 * place + colour] - mean[colour][place]) / std[colour];
    }
  }
  return input;
}

/** The 3 x kernel x kernel values under the window of a cell; 0 where it hangs over the edge. */
function windowAt(input, {size, kernel, stride, padding}, row, column) {
  const values = new Float32Array(3 * kernel * kernel);
  const top = row * stride - padding, left = column * stride - padding;
  for (let index = 0; index < values.length; index++) {
    const colour = Math.floor(index / kernel ** 2);
    const y = top + Math.floor(index / kernel) % kernel, x = left + index % kernel;
    if (y >= 0 && y < size && x >= 0 && x < size) values[index] = input[(colour * size + y) * size + x];
  }
  return values;
}

/** The sum of the products of two lists, from one place to another. */
function dot(one, other, from = 0, to = one.length) {
  let sum = 0;
  for (let index = from; index < to; index++) sum += one[index] * other[index];
  return sum;
}

/** Section 3.5's first layer: side x side values for each kernel. */
function convolve(input, net) {
  const maps = net.kernels.map(() => new Float32Array(net.side ** 2));
  for (let cell = 0; cell < net.side ** 2; cell++) {
    const values = windowAt(input, net, Math.floor(cell / net.side), cell % net.side);
    net.kernels.forEach((kernel, unit) => { maps[unit][cell] = dot(values, kernel) + net.bias[unit]; });
  }
  return maps;
}

const ACTIVATIONS = {
  relu: value => Math.max(0, value), tanh: Math.tanh, sigmoid: value => 1 / (1 + Math.exp(-value))};

/** The first and the last of the n neighbours of a unit, within its column (section 3.3). */
function neighbours(unit, count, {n, columns}) {
  const own = count / columns, begin = Math.floor(unit / own) * own, half = Math.floor(n / 2);
  return [Math.max(begin, unit - half), Math.min(begin + own - 1, unit + half)];
}

/** Section 3.3 for one unit: the sum of its neighbours' squares, and its value after normalisation. */
function normalise(values, unit, norm) {
  const [first, last] = neighbours(unit, values.length, norm);
  const squares = dot(values, values, first, last + 1);
  return {squares, after: values[unit] / (norm.k + norm.alpha * squares) ** norm.beta};
}

/** How many windows fit into a side; the last one may hang over the edge, but begins inside. */
function pooledSide(side, {size, stride, roundUp}) {
  const steps = (side - size) / stride;
  const count = 1 + (roundUp ? Math.ceil(steps) : Math.floor(steps));
  return (count - 1) * stride >= side ? count - 1 : count;
}

/** The rows and columns of a window of pooling: [top, left, bottom, right], the last two excluded. */
function poolWindow(side, {size, stride}, row, column) {
  const top = row * stride, left = column * stride;
  return [top, left, Math.min(side, top + size), Math.min(side, left + size)];
}

/** Section 3.4: the largest value of each window of a side x side map. */
function pool(map, side, pooling) {
  const out = pooledSide(side, pooling);
  return Float32Array.from({length: out * out}, (_, cell) => {
    const [top, left, bottom, right] = poolWindow(side, pooling, Math.floor(cell / out), cell % out);
    let largest = -Infinity;
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) largest = Math.max(largest, map[y * side + x]);
    }
    return largest;
  });
}

/** Section 4.2: a mask of 0 and 1, the same for the same seed (mulberry32's random numbers). */
function mask(seed, count, keep) {
  let state = seed;
  return Array.from({length: count}, () => {
    state = (state + 0x6D2B79F5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32 < keep ? 1 : 0;
  });
}

/** What a cell of a layer sees of a picture: [top, left, bottom, right], cut off at the edges. */
function fieldOf({field, jump, first}, row, column, size) {
  const top = first + row * jump, left = first + column * jump;
  return [Math.max(0, top), Math.max(0, left), Math.min(size, top + field), Math.min(size, left + field)];
}

/** How many tiles stand in a row: a divisor of each column's maps, about the root of all of them. */
function across(maps, columns) {
  const root = Math.sqrt(maps);
  for (let count = Math.floor(root * 1.42); count > root / 2; count--) {
    if (maps / columns % count === 0) return count;
  }
  return Math.ceil(root);
}

/** The row and the column of one of the cells that stand in rows. */
const cellOf = (index, perRow) => [Math.floor(index / perRow), index % perRow];

const largestOf = values => values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-9);
const strongestIn = values => values.reduce((best, value, index) => value > values[best] ? index : best, 0);
const clamp = (value, most) => Math.max(0, Math.min(most, value));

/** A number for people: two digits after the point, more for small ones. */
function short(value) {
  const size = Math.abs(value);
  return value.toFixed(size === 0 || size >= 0.1 ? 2 : size >= 0.001 ? 4 : 7).replace("-", "−");
}

// ------------------------------------------------------------------- drawing

const element = id => document.getElementById(id);
const make = (kind, properties) => Object.assign(document.createElement(kind), properties);
let data, net, layers, state, seen;

/** A sentence of explore.py's table, with {names} replaced. */
function say(key, values = {}) {
  return data.words[key][state.language === "zh" ? 1 : 0].replace(/{(\w+)}/g, (_, name) => values[name]);
}

/** A class or a data set, in the page's language where its name is known. */
const translated = name => data.names[name]?.[state.language === "zh" ? 1 : 0] ?? name;

function write(id, key, values) {
  element(id).textContent = say(key, values);
}

/** White for 0, red above, blue below, full at +-reach. */
function shade(value, reach) {
  const share = clamp(Math.abs(value) / reach, 1);
  return (value > 0 ? [178, 24, 43] : [33, 102, 172]).map(colour => 255 + (colour - 255) * share);
}

/** Fills a board with width x height squares; `colour` gives the [r, g, b] of a column and a row. */
function paint(place, width, height, colour) {
  const canvas = place.querySelector("canvas") ?? place.appendChild(make("canvas"));
  Object.assign(canvas, {width, height});
  const image = new ImageData(width, height);
  for (let index = 0; index < width * height; index++) {
    const [red, green, blue] = colour(index % width, Math.floor(index / width));
    image.data.set([red, green, blue, 255], 4 * index);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** Puts a frame on a board; all numbers in squares of its canvas. */
function frame(id, left, top, width, height) {
  const place = element(id), canvas = place.querySelector("canvas");
  const box = place.querySelector("i") ?? place.appendChild(make("i"));
  const across = 100 / canvas.width, down = 100 / canvas.height;
  box.style.inset = `${top * down}% auto auto ${left * across}%`;
  Object.assign(box.style, {width: `${width * across}%`, height: `${height * down}%`});
}

const paintMap = (id, map, side, reach = largestOf(map)) =>
  paint(element(id), side, side, (x, y) => shade(map[y * side + x], reach));

const paintPicture = (place, pixels) => paint(place, net.size, net.size, (x, y) => {
  const first = 3 * (y * net.size + x);
  return pixels.subarray(first, first + 3);
});

/** Fills a board with square tiles in rows, a line between them, and a frame around the chosen one. */
function paintTiles(id, count, perRow, side, chosen, colour) {
  const pitch = side > 1 ? side + 1 : 1;
  paint(element(id), perRow * pitch, Math.ceil(count / perRow) * pitch, (x, y) => {
    const tile = Math.floor(y / pitch) * perRow + Math.floor(x / pitch);
    const outside = x % pitch >= side || y % pitch >= side || tile >= count;
    return outside ? [225, 225, 225] : colour(tile, y % pitch * side + x % pitch);
  });
  frame(id, chosen % perRow * pitch, Math.floor(chosen / perRow) * pitch, side, side);
}

const BAR = 20, HIGH = 240;   // the width of a bar, and the height of all

/** Bars beside each other on one scale: each series is [values, colour, "bar", "thin", "frame" or "dot"]. */
function paintBars(id, lowest, highest, series) {
  const count = series[0][0].length;
  paint(element(id), count * BAR, HIGH, () => [255, 255, 255]);
  const pen = element(id).firstChild.getContext("2d");
  const heightOf = value => 6 + (HIGH - 12) * (highest - value) / (highest - lowest);
  pen.fillRect(0, heightOf(0), count * BAR, 1);
  for (const [values, colour, shape] of series) {
    Object.assign(pen, {fillStyle: colour, strokeStyle: colour, lineWidth: 2});
    values.forEach((value, index) => {
      const edge = shape === "thin" ? 5 : 1, y = heightOf(value);
      const box = [index * BAR + edge, y, BAR - 2 * edge, heightOf(0) - y];
      if (shape === "dot") pen.fillRect(index * BAR + 6, y - 4, 8, 8);
      else if (shape === "frame") pen.strokeRect(...box);
      else pen.fillRect(...box);
    });
  }
}

// ------------------------------------------------------------------- panels

const picture = () => data.pictures[state.picture];
const ownPicture = () => !picture().top;

function drawAnswer() {
  paintPicture(element("chosen"), picture().pixels);
  const lines = (picture().top ?? []).map(([name, share]) => {
    const line = make("li"), bar = make("i");
    bar.style.width = `${100 * share}%`;
    line.append(translated(name), bar, `${(100 * share).toFixed(1)}%`);
    return line;
  });
  element("top").replaceChildren(...(ownPicture() ? [say("answer_own")] : lines));
}

function drawConvolution() {
  const {kernel, stride, padding, size, side} = net, {row, column, unit} = state;
  const whole = Math.max(size + padding, (side - 1) * stride + kernel);   // with what hangs over the edges
  const {pixels} = picture(), striped = place => place % 4 < 2 ? [205, 205, 205] : [240, 240, 240];
  paint(element("picture"), whole, whole, (x, y) => {
    const place = 3 * ((y - padding) * size + x - padding);
    const outside = Math.min(x, y) < padding || Math.max(x, y) >= size + padding;
    return outside ? striped(x + y) : pixels.subarray(place, place + 3);
  });
  frame("picture", column * stride, row * stride, kernel, kernel);
  const first = Math.min(row, column) * stride, last = Math.max(row, column) * stride + kernel;
  write("picture_label", "picture_label", net);
  write("hangs", first < padding || last > size + padding ? "hangs" : "inside");
  drawProducts(windowAt(seen.input, net, row, column), net.kernels[unit]);
  paintMap("map", seen.maps[unit], side);
  frame("map", column, row, 1, 1);
  write("map_label", "map_label", {unit, side});
}

/** The kernels in colour, grey for 0, each scaled to its own largest weight. */
function drawKernels() {
  const {kernels, kernel, name, columns} = net, reach = kernels.map(largestOf);
  paintTiles("kernels", kernels.length, across(kernels.length, columns), kernel, state.unit, (tile, place) =>
    [0, 1, 2].map(colour => 127.5 + 127.5 * kernels[tile][colour * kernel ** 2 + place] / reach[tile]));
  write("kernels_label", "kernels_label", {maps: kernels.length, layer: name, unit: state.unit});
}

const COLOURS = ["red", "green", "blue"];

/** The window, the kernel and their products in each colour; the sums, and one product in words. */
function drawProducts(values, weights) {
  const side = net.kernel, products = values.map((value, index) => value * weights[index]);
  const grids = {window: values, kernel: weights, product: products};
  for (const [name, grid] of Object.entries(grids)) {
    const reach = largestOf(grid);
    COLOURS.forEach((colour, plane) => {
      paintMap(`${name}_${colour}`, grid.subarray(plane * side ** 2, (plane + 1) * side ** 2), side, reach);
      frame(`${name}_${colour}`, state.tap % side, Math.floor(state.tap / side), 1, 1);
    });
  }
  const sums = COLOURS.map((_, plane) => dot(values, weights, plane * side ** 2, (plane + 1) * side ** 2));
  COLOURS.forEach((colour, plane) => { element(`sum_${colour}`).textContent = short(sums[plane]); });
  const index = state.tapColour * side ** 2 + state.tap;
  write("tap", "tap", {
    colour: say(COLOURS[state.tapColour]), row: Math.floor(state.tap / side), column: state.tap % side,
    value: short(values[index]), weight: short(weights[index]), product: short(products[index])});
  const bias = net.bias[state.unit], parts = [...sums, bias].map(short).join(" + ").replaceAll("+ −", "− ");
  element("total").textContent = `${parts} (${say("bias")}) = ${short(sums[0] + sums[1] + sums[2] + bias)}`;
}

/** A layer's values for the chosen picture; a picture of one's own has only the first layer's. */
function mapsOf(layer) {
  if (layer === layers[0]) return seen.maps;
  const values = layer.values[state.picture], cells = layer.side ** 2;
  return Array.from({length: layer.maps}, (_, unit) => values.subarray(unit * cells, (unit + 1) * cells));
}

function drawMaps() {
  const {layer, mapUnit: unit, mapRow: row, mapColumn: column} = state, {side, dense} = layer;
  const maps = mapsOf(layer), reach = Math.max(1e-9, ...maps.map(map => map[strongestIn(map)]));
  paintTiles("overview", layer.maps, across(layer.maps, layer.columns), side, unit,
             (tile, cell) => shade(maps[tile][cell], reach));
  write("overview_label", dense ? "dense_label" : "overview_label", {
    layer: layer.name, maps: layer.maps, side, columns: layer.columns > 1 ? say("halves") : ""});
  paintMap("one", maps[unit], side, reach);
  frame("one", column, row, 1, 1);
  const value = short(maps[unit][row * side + column]);
  write("one_label", dense ? "dense_one" : "one_label", {unit, row, column, value});
  paintPicture(element("field"), picture().pixels);
  const [top, left, bottom, right] = fieldOf(layer, row, column, net.size);
  frame("field", left, top, right - left, bottom - top);
  const whole = right - left === net.size && bottom - top === net.size;
  write("field_label", whole ? "whole_label" : "field_label", {width: right - left, height: bottom - top});
  drawPatches(layer, unit);
}

function drawPatches(layer, unit) {
  const strongest = data.patches?.strongest[layer.name];
  element("patches").replaceChildren(...(strongest?.[unit] ?? []).map(([number, row, column, value]) => {
    const [top, left, bottom, right] = fieldOf(layer, row, column, net.size), {image, across} = data.patches;
    const canvas = make("canvas", {width: right - left, height: bottom - top});
    canvas.style.width = `${96 * canvas.width / Math.min(net.size, layer.field)}px`;
    const x = number % across * net.size, y = Math.floor(number / across) * net.size;
    canvas.getContext("2d").drawImage(image, -x - left, -y - top);
    const figure = make("figure");
    figure.append(canvas, make("figcaption", {textContent: short(value)}));
    return figure;
  }));
  const key = strongest ? "patches_label" : data.patches ? "patches_dense" : "patches_none";
  write("patches_label", key, {unit, looked: data.patches?.looked});
}

/** What normalisation and pooling get of a first layer's value: in some networks a ReLU stands between. */
const activated = value => net.activation_first ? ACTIVATIONS[net.activation](value) : value;

const EXAMPLE = [0, 0, 100, 0, 0];   // worked by hand in paper/README.md

/** The values that are normalised, the chosen one of them, and how. */
function normalised() {
  if (state.example) return {values: EXAMPLE, unit: state.exampleUnit, norm: {...state.lrn, columns: 1}};
  const cell = state.row * net.side + state.column;
  return {values: seen.maps.map(map => activated(map[cell])), unit: state.unit, norm: state.lrn};
}

function drawNorm() {
  const {values, unit, norm} = normalised(), {k, alpha, beta} = norm;
  const after = values.map((_, index) => normalise(values, index, norm).after);
  const all = [...values, ...after, 0];
  paintBars("lrn", Math.min(...all), Math.max(...all, 1e-9), [
    [values, "#c9cfd6", "bar"], [after, "#b2182b", "thin"]]);
  const [first, last] = neighbours(unit, values.length, norm), {squares} = normalise(values, unit, norm);
  frame("lrn", first * BAR, 0, (last - first + 1) * BAR, HIGH);
  element("lrn_label").textContent = `a ÷ (k + α × Σa²)^β = ${short(values[unit])} ÷ ` +
    `(${k} + ${+alpha.toPrecision(3)} × ${short(squares)})^${beta} = ${short(after[unit])}`;
}

const pooling = () => ({...state.pool, roundUp: net.round_up});

function drawPooling() {
  const {side} = net, {size, stride, roundUp} = pooling(), map = seen.maps[state.unit].map(activated);
  const pooled = pool(map, side, pooling()), out = pooledSide(side, pooling());
  const [row, column] = [state.poolRow, state.poolColumn].map(place => clamp(place, out - 1));
  const reach = largestOf(map);
  paintMap("before", map, side, reach);
  const [top, left, bottom, right] = poolWindow(side, pooling(), row, column);
  frame("before", left, top, right - left, bottom - top);
  paintMap("after", pooled, out, reach);
  frame("after", column, row, 1, 1);
  write("before_label", "before_label", {side});
  write("after_label", "after_label", {side: out});
  const [open, close] = roundUp ? "⌈⌉" : "⌊⌋";
  element("pool_formula").textContent = `1 + ${open}(${side} − ${size}) ÷ ${stride}${close} = ${out}; ` +
    say("largest", {count: (bottom - top) * (right - left), value: short(pooled[row * out + column])});
}

const SHOWN = 24;   // neurons of fc6

/** Some neurons of fc6 that are not 0; of the last picture that has them. */
function hidden() {
  const values = Array.from(layers.find(layer => layer.name === "fc6").values[state.sample]);
  const active = values.filter(value => value > 0), some = active.length < SHOWN ? values : active;
  const step = Math.max(1, Math.floor(some.length / SHOWN));
  return some.filter((_, index) => index % step === 0).slice(0, SHOWN);
}

function drawDropout() {
  const values = hidden(), count = values.length, {keep, draws} = state;
  const kept = new Array(count).fill(0);
  let last = kept;
  for (let seed = 1; seed <= draws; seed++) {
    last = mask(seed, count, keep);
    last.forEach((bit, index) => { kept[index] += bit; });
  }
  const highest = largestOf(values) / keep, sum = list => list.reduce((total, value) => total + value);
  for (const [id, training, testing] of [["masked", 1, keep], ["inverted", 1 / keep, 1]]) {
    const now = values.map((value, index) => value * last[index] * training);
    const mean = values.map((value, index) => value * kept[index] / draws * training);
    const test = values.map(value => value * testing);
    paintBars(id, 0, highest, [[now, "#f0b7a4", "bar"], [test, "#2166ac", "frame"], [mean, "#222", "dot"]]);
    element(`${id}_label`).textContent = `${say(id, {keep})}. ` + say("drawn", {
      kept: sum(last), count, draws, now: short(sum(now)), mean: short(sum(mean)), test: short(sum(test))});
  }
}

// ------------------------------------------------------------------- what a person can choose

const refresh = [];   // brings the words and the state of each control up to date

/** A button: `label` gives its words, `pressed` whether it is the chosen one of several. */
function addButton(id, label, action, pressed, possible = () => true) {
  const made = element(id).appendChild(make("button", {onclick: action}));
  refresh.push(() => {
    made.textContent = label();
    made.disabled = !possible();
    if (pressed) made.setAttribute("aria-pressed", pressed());
  });
}

/** Buttons that put a named set of numbers into the state. */
function addPresets(id, what, presets) {
  const same = values => Object.keys(values).every(name => state[what][name] === values[name]);
  for (const [name, values] of Object.entries(presets)) {
    addButton(id, () => say(name), () => change({[what]: values}), () => same(values));
  }
}

/** A slider for a number; `from` and `to` translate between the number and the slider's place. */
function addSlider(id, label, [min, max, step], read, set, from = Number, to = Number) {
  const words = make("span"), shown = make("output");
  const input = make("input", {type: "range", min, max, step, oninput: () => set(to(input.value))});
  element(id).appendChild(make("label")).append(words, input, shown);
  refresh.push(() => {
    words.textContent = label();
    shown.textContent = +read().toPrecision(3);
    if (to(input.value) !== read()) input.value = from(read());
  });
}

function addPicture(shown) {
  const index = data.pictures.push(shown) - 1;
  const made = make("button", {title: shown.name, onclick: () => choosePicture(index)});
  element("pictures").append(made);
  paintPicture(made, shown.pixels);
  refresh.push(() => made.setAttribute("aria-pressed", state.picture === index));
}

/** All panels follow the picture; its first layer is computed here. */
function choosePicture(index) {
  const input = prepare(data.pictures[index].pixels, net);
  seen = {input, maps: convolve(input, net)};
  change({picture: index});
  if (!ownPicture()) change({sample: index});
  else if (state.layer !== layers[0]) chooseLayer(layers[0]);
}

/** Shows a layer's strongest unit, and of its map the strongest cell. */
function chooseLayer(layer) {
  const maps = mapsOf(layer), mapUnit = strongestIn(maps.map(map => map[strongestIn(map)]));
  const [mapRow, mapColumn] = cellOf(strongestIn(maps[mapUnit]), layer.side);
  change({layer, mapUnit, mapRow, mapColumn});
}

/** A picture of one's own, cut as the others are: the square in its middle is packed, of that the centre. */
async function openPicture(file) {
  const image = await createImageBitmap(file), {size} = net, {packed} = data;
  const square = Math.min(image.width, image.height), scale = square / packed;
  const edge = length => (length - square) / 2 + Math.floor((packed - size) / 2) * scale;
  const pen = make("canvas", {width: size, height: size}).getContext("2d");
  Object.assign(pen, {imageSmoothingQuality: "high", fillStyle: "white"});
  pen.fillRect(0, 0, size, size);   // under transparent pixels
  pen.drawImage(image, edge(image.width), edge(image.height), size * scale, size * scale, 0, 0, size, size);
  const rgba = pen.getImageData(0, 0, size, size).data;
  addPicture({name: file.name, pixels: rgba.filter((_, index) => index % 4 < 3)});
  choosePicture(data.pictures.length - 1);
}

function addControls() {
  for (const made of document.querySelectorAll("[data-language]")) {
    made.onclick = () => change({language: made.dataset.language});
    refresh.push(() => made.setAttribute("aria-pressed", made.dataset.language === state.language));
  }
  element("file").onchange = ({target: {files: [file]}}) => {
    element("file_note").textContent = "";
    openPicture(file).catch(() => write("file_note", "bad_file", {name: file.name}));
  };
  for (const layer of layers) {
    addButton("layers", () => layer.name, () => chooseLayer(layer), () => layer === state.layer,
              () => !ownPicture() || layer === layers[0]);
  }
  addButton("lrn_values", () => say("cell"), () => change({example: false}), () => !state.example);
  addButton("lrn_values", () => EXAMPLE.join(" "), () => change({example: true}), () => state.example);
  addNumber("lrn", "k", [0.5, 10, 0.5]);
  addNumber("lrn", "n", [1, 15, 2]);
  addNumber("lrn", "alpha", [-6, -1, 0.1], Math.log10, place => 10 ** place);
  addNumber("lrn", "beta", [0, 1.5, 0.05]);
  addPresets("lrn_presets", "lrn", data.lrn);
  addNumber("pool", "size", [1, 5, 1]);
  addNumber("pool", "stride", [1, 5, 1]);
  addPresets("pool_presets", "pool", data.pooling);
  addButton("draws", () => say("draw"), () => change({draws: state.draws + 1}));
  addButton("draws", () => say("draw_many"), () => change({draws: state.draws + 100}));
  addSlider("dropout_sliders", () => say("keep"), [0.1, 1, 0.1], () => state.keep,
            keep => change({keep, draws: 1}));
}

/** A slider for one of the numbers of state.lrn or state.pool. */
function addNumber(what, name, range, ...translated) {
  addSlider(`${what}_sliders`, () => say(name), range, () => state[what][name],
            value => change({[what]: {...state[what], [name]: value}}), ...translated);
}

const MOVES = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0]};

/** Choosing one of a board's cells with a pointer, also dragged, or with the arrow keys. `cells` gives
 *  how many rows and columns it has, `current` the chosen one; `cellAt` finds the cell at a share of it. */
function choosing(id, cells, current, choose, cellAt = (share, count) => Math.floor(share * count)) {
  const board = element(id);
  const to = (row, column) => choose(clamp(row, cells()[0] - 1), clamp(column, cells()[1] - 1));
  const follow = ({clientX, clientY}) => {
    const {top, left, width, height} = board.getBoundingClientRect(), [rows, columns] = cells();
    to(cellAt((clientY - top) / height, rows), cellAt((clientX - left) / width, columns));
  };
  board.setAttribute("role", "application");
  board.setAttribute("aria-labelledby", `${id}_label`);
  board.onpointerdown = event => {
    follow(event);
    addEventListener("pointermove", follow);
  };
  for (const end of ["pointerup", "pointercancel"]) {
    addEventListener(end, () => removeEventListener("pointermove", follow));
  }
  board.onkeydown = event => {
    if (!(event.key in MOVES)) return;
    event.preventDefault();
    const [down, right] = MOVES[event.key], [row, column] = current();
    to(row + down, column + right);
  };
}

/** Choosing one of `count` tiles that stand in rows. */
function choosingTile(id, count, perRow, current, choose) {
  choosing(id, () => [Math.ceil(count() / perRow()), perRow()], () => cellOf(current(), perRow()),
           (row, column) => choose(Math.min(count() - 1, row * perRow() + column)));
}

function addBoards() {
  const square = side => () => [side(), side()];
  const windowUnder = share =>   // whose middle is nearest
    Math.round((share * element("picture").firstChild.width - net.kernel / 2) / net.stride);
  for (const [id, ...cellAt] of [["picture", windowUnder], ["map"]]) {
    choosing(id, square(() => net.side), () => [state.row, state.column],
             (row, column) => change({row, column}), ...cellAt);
  }
  choosingTile("kernels", () => net.kernels.length, () => across(net.kernels.length, net.columns),
               () => state.unit, unit => change({unit}));
  choosingTile("overview", () => state.layer.maps, () => across(state.layer.maps, state.layer.columns),
               () => state.mapUnit, mapUnit => change({mapUnit}));
  choosing("one", square(() => state.layer.side), () => [state.mapRow, state.mapColumn],
           (mapRow, mapColumn) => change({mapRow, mapColumn}));
  choosing("lrn", () => [1, normalised().values.length], () => [0, normalised().unit],
           (_, unit) => change(state.example ? {exampleUnit: unit} : {unit}));
  choosing("after", square(() => pooledSide(net.side, pooling())), () => [state.poolRow, state.poolColumn],
           (poolRow, poolColumn) => change({poolRow, poolColumn}));
  for (const name of ["window", "kernel", "product"]) {
    COLOURS.forEach((colour, tapColour) => choosing(
      `${name}_${colour}`, square(() => net.kernel), () => cellOf(state.tap, net.kernel),
      (row, column) => change({tapColour, tap: row * net.kernel + column})));
  }
}

// ------------------------------------------------------------------- the start

const PANELS = [drawAnswer, drawKernels, drawConvolution, drawMaps, drawNorm, drawPooling, drawDropout];
let waiting = false;

/** Everything that a person does goes through here; the page is drawn again before the next frame. */
function change(changes) {
  Object.assign(state, changes);
  if (!waiting) requestAnimationFrame(draw);
  waiting = true;
}

function draw() {
  waiting = false;
  document.documentElement.lang = state.language === "zh" ? "zh-CN" : "en";
  document.title = say("title");
  const {variant, classes, trained_on: set} = data;
  const values = {...net, variant, classes, products: 3 * net.kernel ** 2, neurons: SHOWN,
                  trained_on: set && say("trained_on", {name: translated(set)}),
                  activated: net.activation_first ? say("activated") : "",
                  deviation: net.std.some(one => one !== 1) ? say("deviation") : ""};
  for (const place of document.querySelectorAll("[data-say]")) {
    place.textContent = say(place.dataset.say, values);
  }
  for (const place of document.querySelectorAll("[data-label]")) place.ariaLabel = say(place.dataset.label);
  for (const one of [...refresh, ...PANELS]) one();
}

/** Rows for red, green and blue: window x kernel = products, and their sum. */
function addGrids() {
  const grid = id => `<div id="${id}" class="board" tabindex="0"></div>`;
  element("products").innerHTML += COLOURS.map(colour =>
    grid(`window_${colour}`) + grid(`kernel_${colour}`) + grid(`product_${colour}`) +
    `<span><span data-say="${colour}"></span> <output id="sum_${colour}"></output></span>`).join("");
}

async function start() {
  data = JSON.parse(element("numbers").textContent);
  net = {...data.net, kernels: numbers(data.net.kernels), mean: numbers(data.net.mean)};
  layers = data.layers.map(layer => ({...layer, values: layer.values && numbers(layer.values)}));
  if (data.patches) {
    data.patches.image = Object.assign(new Image(), {src: data.patches.sheet});
    await data.patches.image.decode();
  }
  const unit = strongestIn(net.kernels.map(kernel => dot(kernel, kernel)));
  state = {
    language: data.language, picture: 0, sample: 0, unit, tap: Math.floor(net.kernel ** 2 / 2), tapColour: 0,
    example: false, exampleUnit: 2, lrn: data.lrn.own ?? data.lrn.code, pool: data.pooling.own, poolRow: 1, poolColumn: 1,
    keep: data.keep, draws: 1};
  const shown = data.pictures;
  data.pictures = [];
  for (const one of shown) addPicture({...one, pixels: bytes(one.pixels)});
  addGrids();
  addControls();
  addBoards();
  choosePicture(0);
  const [row, column] = cellOf(strongestIn(seen.maps[unit]), net.side);
  change({row, column});
  chooseLayer(layers[1]);
}

if (typeof document !== "undefined") start();
else module.exports = {numbers, prepare, convolve, normalise, pool, mask, fieldOf, across};
