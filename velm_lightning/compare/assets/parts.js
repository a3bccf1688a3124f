// The parts of which the page of a comparison and the board consist. Texts become text nodes, never markup.
const main = document.getElementById("main"), root = document.documentElement;
const contents = document.createElement("nav"), redraws = [];

function add(parent, tag, text, name) {
  const node = document.createElement(tag);
  if (text !== undefined && text !== null) node.textContent = text;
  if (name) node.className = name;
  parent.appendChild(node);
  return node;
}
// Adds a text in which the parts between backticks are code.
function prose(parent, tag, text, name) {
  const node = add(parent, tag, null, name);
  text.split(/`([^`]+)`/).forEach((part, at) => add(node, at % 2 ? "code" : "span", part));
  return node;
}
const titled = text => text.charAt(0).toUpperCase() + text.slice(1);
function section(title, caption) {
  const node = add(main, "section");
  const head = add(node, "h2", titled(title)), jump = add(contents, "button", titled(title));
  jump.addEventListener("click", () => head.scrollIntoView());
  if (caption) prose(node, "p", caption, "caption");
  return node;
}
function choice(parent, label, names) {
  const holder = add(parent, "label", label + " ");
  const select = add(holder, "select");
  names.forEach((name, index) => { add(select, "option", name).value = index; });
  return select;
}
function list(node, items) {
  const ul = add(node, "ul");
  items.forEach(item => prose(ul, "li", item));
}
const number = value => typeof value === "number";
const formatted = value => value === null || value === undefined ? "—" : !number(value) ? value
  : Number.isInteger(value) ? value.toLocaleString("en") : Math.abs(value) < 10 ? value.toFixed(4) : value.toFixed(1);

// A table whose columns sort by a click; returns a function that keeps the rows with a text, and one that sets the rows.
function table(node, head, rows, words, sortable) {
  const grid = add(add(node, "div", null, "scroll"), "table");
  const top = add(add(grid, "thead"), "tr"), body = add(grid, "tbody");
  let all = rows, wanted = "", place = null, order = 1;
  const fill = () => {
    let visible = all.filter(row => row.join(" ").toLowerCase().includes(wanted));
    if (place !== null) {
      visible = visible.slice().sort((a, b) => order * (number(a[place]) && number(b[place]) ? a[place] - b[place]
        : String(a[place]).localeCompare(String(b[place]), "en", { numeric: true })));
    }
    body.replaceChildren(...visible.map(row => {
      const line = document.createElement("tr");
      row.forEach((value, at) => add(line, "td", formatted(value), number(value) || at >= words ? "number" : ""));
      return line;
    }));
  };
  head.forEach((name, at) => {
    const cell = add(top, "th", name, (at >= words ? "number" : "") + (sortable ? " sort" : ""));
    if (!sortable) return;
    cell.title = "sort";
    cell.addEventListener("click", () => { order = place === at ? -order : 1; place = at; fill(); });
  });
  fill();
  return { filter: text => { wanted = text.toLowerCase(); fill(); }, set: changed => { all = changed; fill(); } };
}

const TOOLS = ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"]; // removed from the toolbar
// The height of a legend above the plot, whose lines depend on the width of the window.
function legendHeight(figure, width) {
  const names = new Set(figure.data.filter(line => line.name && line.showlegend !== false).map(line => line.name));
  if (names.size < 2 || (figure.layout.legend || {}).y !== 1) return 0;
  let lines = 1, place = 0;
  for (const name of names) {
    const wide = 50 + 7 * name.length;
    if (place && place + wide > width - 80) { lines += 1; place = 0; }
    place += wide;
  }
  return 8 + 19 * lines;
}
function themed(figure, width) {
  const layout = { ...figure.layout }, legend = legendHeight(figure, width);
  if (legend) {
    layout.height = (layout.height || 380) + legend;
    layout.margin = { ...layout.margin, t: layout.margin.t + legend };
  }
  const style = getComputedStyle(root), colour = name => style.getPropertyValue(name).trim();
  const line = colour("--line"), copy = { ...layout, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)" };
  copy.font = { ...layout.font, color: colour("--text") };
  copy.modebar = { bgcolor: "rgba(0,0,0,0)", color: colour("--line"), activecolor: colour("--quiet"), remove: TOOLS };
  const axes = Object.keys(layout).filter(name => /^[xy]axis/.test(name));
  for (const name of ["xaxis", "yaxis", ...axes]) copy[name] = { gridcolor: line, zerolinecolor: line, ...layout[name] };
  if (layout.annotations) copy.annotations = layout.annotations.map(note => ({ ...note, bgcolor: colour("--panel") }));
  return copy;
}

// Plots are drawn when they come near the window: a page with hundreds of lines opens at once.
const near = new IntersectionObserver(entries => entries.forEach(entry => {
  if (!entry.isIntersecting) return;
  near.unobserve(entry.target);
  entry.target.draw();
}), { rootMargin: "300px" });

// A plot with variants; returns a function that replaces them and keeps the chosen one by its name.
function plotted(node, variants) {
  let names = Object.keys(variants);
  const bar = add(node, "div", null, "controls"), plot = add(add(node, "div", null, "sideways"), "div", null, "plot");
  let select = null, visible = false;
  const draw = () => {
    if (!visible || !names.length) return;
    const figure = variants[names[select ? select.value : 0]], { least } = figure.layout.meta || {};
    plot.style.minWidth = least ? `${least}px` : "";
    const options = { displaylogo: false, displayModeBar: "hover", responsive: true };
    ready.then(() => Plotly.react(plot, figure.data, themed(figure, plot.clientWidth), options));
  };
  const choose = () => {
    const before = select && select.selectedOptions[0].textContent;
    bar.replaceChildren();
    select = names.length > 1 ? choice(bar, "show", names) : null;
    if (!select) return;
    select.value = Math.max(0, names.indexOf(before));
    select.addEventListener("change", draw);
  };
  plot.draw = () => { visible = true; draw(); };
  plot.style.minHeight = `${(variants[names[0]] || { layout: {} }).layout.height || 380}px`;
  choose();
  redraws.push(draw);
  near.observe(plot);
  return changed => {
    const different = Object.keys(changed).join("\n") !== names.join("\n");
    variants = changed;
    names = Object.keys(changed);
    if (different) choose();
    draw();
  };
}

function heading(title) {
  document.title = title;
  const top = add(main, "div", null, "top");
  add(top, "h1", title);
  const tools = add(top, "div", null, "controls"), theme = add(tools, "button", "dark / light");
  theme.id = "theme";
  root.classList.toggle("dark", matchMedia("(prefers-color-scheme: dark)").matches);
  theme.addEventListener("click", () => { root.classList.toggle("dark"); redraws.forEach(draw => draw()); });
  return tools;
}
