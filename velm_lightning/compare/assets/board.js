// The board: asks the server for the state of the runs every few seconds, and changes only what has changed.
const SECONDS = 5;
const ready = new Promise((resolve, reject) => {
  const script = add(document.head, "script");
  script.onload = resolve;
  script.onerror = () => reject(new Error("plotly.js was not loaded"));
  script.src = "/plotly.js";
});
const tools = heading("velm board"), pick = choice(tools, "experiment", []), status = add(main, "p", "", "caption");
pick.id = "experiment";
status.id = "status";

const overview = section("Runs", "The last changed first. `last` and `best` are of the figure by which the checkpoint is "
  + "chosen, on validation data. `time left` ends at the last planned step; early stopping may come first.");
const input = add(add(add(overview, "div", null, "controls"), "label", "filter "), "input");
input.id = "filter";
let runs = null;
input.addEventListener("input", () => runs && runs.filter(input.value));

// A plot of one figure, which the reader chooses; the choice stays when new figures are logged.
function plotOf(title, fits) {
  const node = section(title, "Mean over the seeds that have reached a step; the band spans the smallest and the largest.");
  const select = choice(add(node, "div", null, "controls"), "show", []), plot = add(node, "div", null, "plot");
  let names = [], figure = null;
  const draw = () => {
    if (!figure || !figure.data) return plot.replaceChildren();
    const options = { displaylogo: false, displayModeBar: "hover", responsive: true };
    const layout = { ...themed(figure, plot.clientWidth), uirevision: select.value };
    return ready.then(() => Plotly.react(plot, figure.data, layout, options));
  };
  plot.style.minHeight = "420px";
  redraws.push(draw);
  select.addEventListener("change", () => refresh());
  return {
    wanted: () => select.value,
    update: (figures, curves) => {
      const fitting = figures.filter(fits);
      if (fitting.join("\n") !== names.join("\n")) {
        const before = select.value;
        names = fitting;
        select.replaceChildren();
        names.forEach(name => { add(select, "option", name).value = name; });
        if (names.includes(before)) select.value = before;
      }
      node.hidden = !names.length;
      figure = curves[select.value];
      draw();
    },
  };
}
const plots = [
  plotOf("Validation", name => name.startsWith("val/")), plotOf("Training", name => name.startsWith("train/")),
];
const broken = section("Cannot be read", "These folders may still be written."), reasons = add(broken, "div");

let evaluated = "", pictures = null;
async function images(state) {
  const now = state.experiment + state.evaluated.join("\n");
  if (now === evaluated || document.querySelector("dialog[open]")) return;
  evaluated = now;
  const cards = state.evaluated.length
    ? await (await fetch("/gallery?experiment=" + encodeURIComponent(state.experiment))).json() : null;
  document.querySelectorAll("dialog").forEach(dialog => dialog.remove());
  if (pictures) pictures.remove();
  pictures = cards && gallery(cards);
}

let wanted = null, asking = null;
async function ask() {
  const words = new URLSearchParams();
  if (wanted) words.set("experiment", wanted);
  plots.forEach(plot => words.append("figure", plot.wanted()));
  const state = await (await fetch("/state?" + words)).json();
  if (Array.from(pick.options, option => option.value).join("\n") !== state.experiments.join("\n")) {
    pick.replaceChildren();
    state.experiments.forEach(name => { add(pick, "option", name).value = name; });
  }
  pick.value = state.experiment;
  status.textContent = state.rows.length || state.broken.length
    ? `${state.counts || "no run can be read"} · ${state.time}` : `no runs yet · ${state.time}`;
  if (runs) runs.set(state.rows); else runs = table(overview, state.head, state.rows, 2, true);
  plots.forEach(plot => plot.update(state.figures, state.curves));
  if (plots.some(plot => plot.wanted() && !(plot.wanted() in state.curves))) setTimeout(refresh); // names are new
  broken.hidden = !state.broken.length;
  reasons.replaceChildren();
  list(reasons, state.broken);
  await images(state);
  document.body.classList.add("built");
}
function refresh() {
  asking = (asking || Promise.resolve()).then(ask).catch(error => {
    status.textContent = `the board does not answer (${error.message}); is \`velm board\` still running?`;
  });
  return asking;
}
pick.addEventListener("change", () => { wanted = pick.value; refresh(); });
setInterval(() => { if (!document.hidden) refresh(); }, 1000 * SECONDS);
refresh();
