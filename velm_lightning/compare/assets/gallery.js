// One card per image, errors first; a click opens all answers and where each method looked.
const FADED = 0.8, LEAST_EVIDENCE = 0.001, LEAST_EXCESS = 0.25; // as in inspection/heat_overlay.py

// How a map is shown: strengths from 0 to 1 with the ends of the scale, or a text if it shows nothing.
function heatOf(map, kind) {
  if (map === null) return { text: "not stored" };
  if (!map[kind]) return { text: `no ${kind}` };
  const cells = map[kind].flat(), sum = cells.reduce((total, value) => total + value, 0), wide = map[kind][0].length;
  if (kind === "evidence") {
    if (!(sum >= LEAST_EVIDENCE)) return { text: "no evidence" };
    const top = Math.max(...cells);
    return { start: "0", end: top.toPrecision(2), wide, cells: cells.map(value => value / top) };
  }
  const excess = cells.map(value => Math.max(0, value * cells.length / sum - 1)), most = Math.max(...excess);
  if (!(most >= LEAST_EXCESS)) return { text: "even attention" };
  return { start: "even", end: `${(1 + most).toPrecision(2)}x even`, wide, cells: excess.map(value => value / Math.max(1, most)) };
}
// An image that fades to grey where the strength is low, so that it keeps its colours elsewhere.
function look(parent, source, title, heat) {
  const figure = add(parent, "figure", null, "look"), frame = add(figure, "div", null, "frame");
  const image = add(frame, "img");
  image.src = source;
  image.alt = title;
  if (heat.cells) {
    const canvas = add(frame, "canvas"), pixels = canvas.getContext("2d");
    canvas.width = heat.wide;
    canvas.height = heat.cells.length / heat.wide;
    const data = pixels.createImageData(canvas.width, canvas.height);
    heat.cells.forEach((value, at) => data.data.set([128, 128, 128, 255 * FADED * (1 - Math.min(1, value))], 4 * at));
    pixels.putImageData(data, 0, 0);
    const scale = add(figure, "div", null, "scale");
    add(scale, "span", `faded ${heat.start}`);
    add(scale, "i");
    add(scale, "span", `clear ${heat.end}`);
  } else add(figure, "div", heat.text, "scale");
  return figure;
}
// The names of a group and of the groups that it is a part of, as in io/groups.py.
const enclosing = group => group.split(" / ").map((_, at, parts) => parts.slice(0, at + 1).join(" / ")).filter(Boolean);

function gallery({ methods, cards, pictures, right, words }) {
  const [yes, no] = words, node = section("Predictions", "One card per stored image, errors of A first. Click on an image "
    + "for the answers of all methods and where they looked.");
  const bar = add(node, "div", null, "controls");
  const a = choice(bar, "A", methods), b = choice(bar, "B", methods);
  b.value = Math.min(1, methods.length - 1);
  const filters = {
    "all": () => true,
    [`A ${yes}, B ${no}`]: (x, y) => x === true && y === false,
    [`A ${no}, B ${yes}`]: (x, y) => x === false && y === true,
    [`both ${no}`]: (x, y) => x === false && y === false,
    [`both ${yes}`]: (x, y) => x === true && y === true,
    "with maps of where they looked": (x, y, sample) => sample.maps,
  };
  const which = choice(bar, "show", Object.keys(filters));
  which.id = "which";
  const names = cards.flatMap(card => card.samples.flatMap(sample => enclosing(sample.group)));
  const groups = ["every group", ...new Set(names)];
  const group = choice(bar, "of", groups), search = add(add(bar, "label", "text "), "input");
  group.id = "group";
  search.id = "search";
  const count = add(bar, "span", "", "quiet"), grid = add(node, "div", null, "cards"), more = add(node, "button", "more");
  count.id = "count";
  const every = cards.reduce((sum, card) => sum + card.samples.length, 0);
  const address = name => "data:image/jpeg;base64," + pictures[name];
  // Whether an answer is right; null if it has no score, because the sample has no reference.
  const good = prediction => prediction[1] === null ? null : prediction[1] >= right;
  const error = prediction => prediction[1] === null ? Infinity : prediction[1];

  const answer = (parent, label, [text, score, confidence]) => {
    const correct = good([text, score]), scored = correct !== null;
    const line = add(parent, "div", null, scored ? (correct ? "right" : "wrong") : "quiet");
    add(line, "span", scored ? (correct ? "✓" : "✗") : "–", "sign");
    add(line, "span", `${label}: ${text}`);
    if (score !== null) line.title = `score ${score.toFixed(3)}` + (confidence === null ? "" : `, confidence ${confidence.toFixed(3)}`);
  };
  const question = (parent, sample) => {
    const text = add(parent, "div", null, "sample");
    if (sample.prompt) add(text, "div", sample.prompt, "prompt");
    add(text, "div", "reference: " + (sample.references.join(" / ") || "none"), "quiet");
    return text;
  };

  const zoom = add(document.body, "dialog");
  zoom.id = "zoom";
  zoom.addEventListener("click", event => { if (event.target === zoom) zoom.close(); });
  const open = card => {
    zoom.replaceChildren();
    const close = add(zoom, "button", "close", "close"), sides = add(zoom, "div", null, "sides");
    const image = add(add(sides, "div", null, "left"), "img", null, "whole"), answers = add(sides, "div", null, "answers");
    image.src = address(card.image);
    image.alt = card.image;
    close.addEventListener("click", () => zoom.close());
    card.samples.forEach(sample => {
      const text = question(answers, sample);
      if (!sample.maps) return methods.forEach((name, at) => answer(text, name, sample.predictions[at]));
      const kinds = ["evidence", "attention"].filter(kind => sample.maps.some(map => map && map[kind]));
      const bar = kinds.length > 1 ? add(text, "div", null, "controls") : null;
      const kind = bar && choice(bar, "where it looked:", kinds);
      if (bar) add(bar, "span", "each map has its own scale", "quiet");
      const looks = add(text, "div", null, "looks");
      const draw = () => {
        looks.replaceChildren();
        methods.forEach((name, at) => {
          const heat = heatOf(sample.maps[at], kinds[kind ? kind.value : 0] || "evidence");
          answer(look(looks, image.src, name, heat), name, sample.predictions[at]);
        });
      };
      if (kind) kind.addEventListener("change", draw);
      draw();
    });
    zoom.showModal();
    zoom.scrollTop = 0;
  };

  let limit = 24;
  const chosen = () => {
    const test = Object.values(filters)[which.value], text = search.value.toLowerCase();
    const fits = sample => test(good(sample.predictions[a.value]), good(sample.predictions[b.value]), sample)
      && (group.value === "0" || enclosing(sample.group).includes(groups[group.value]))
      && [sample.prompt, ...sample.references, ...sample.predictions.map(([said]) => said)].join("\n").toLowerCase().includes(text);
    const worst = (x, y) => error(x.predictions[a.value]) - error(y.predictions[a.value])
      || error(x.predictions[b.value]) - error(y.predictions[b.value]) || 0;
    return cards.map(card => ({ card, samples: card.samples.filter(fits).sort(worst) })).filter(({ samples }) => samples.length)
      .map(entry => ({ ...entry, wrong: entry.samples.filter(sample => good(sample.predictions[a.value]) === false).length / entry.samples.length }))
      .sort((x, y) => y.wrong - x.wrong);
  };
  const draw = () => {
    const entries = chosen();
    const kept = entries.reduce((sum, { samples }) => sum + samples.length, 0);
    count.textContent = `${kept} of ${every} samples, ${entries.length} of ${cards.length} images`;
    grid.replaceChildren();
    entries.slice(0, limit).forEach(({ card, samples }) => {
      const box = add(grid, "div", null, "card"), button = add(box, "button", null, "open"), image = add(button, "img");
      image.src = address(card.image);
      image.alt = card.image;
      button.title = "all answers, and where the methods looked";
      button.addEventListener("click", () => open(card));
      if (card.samples.some(sample => sample.maps)) add(button, "div", "with maps", "quiet");
      const side = add(box, "div");
      samples.slice(0, 3).forEach(sample => {
        const text = question(side, sample);
        answer(text, "A", sample.predictions[a.value]);
        if (b.value !== a.value) answer(text, "B", sample.predictions[b.value]);
      });
      if (samples.length > 3) add(side, "div", `and ${samples.length - 3} more`, "quiet");
    });
    more.hidden = entries.length <= limit;
  };
  [a, b, which, group].forEach(select => select.addEventListener("change", () => { limit = 24; draw(); }));
  search.addEventListener("input", draw);
  more.addEventListener("click", () => { limit += 48; draw(); });
  draw();
  return node;
}
