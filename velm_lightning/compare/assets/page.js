// The page of a comparison: unpacks the data and plotly, and puts the parts in their order.
async function unpacked(name) {
  const bytes = Uint8Array.from(atob(document.getElementById(name).textContent), letter => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}
const afterwards = () => new Promise(resolve => requestAnimationFrame(() => setTimeout(resolve)));

function about(header, commands, links) {
  const node = section("About", null), entries = add(node, "dl");
  header.forEach(([name, value]) => { add(entries, "dt", name); add(entries, "dd", value); });
  if (commands.length) {
    const more = add(node, "details");
    add(more, "summary", "commands", "quiet");
    commands.forEach(line => add(add(more, "div"), "code", line));
  }
  if (!links.length) return;
  const more = add(node, "details");
  add(more, "summary", "run folders, checkpoints and W&B", "quiet");
  links.forEach(([run, targets]) => {
    const line = add(more, "div", run + ": ");
    targets.forEach(([text, address]) => { add(line, "a", text).href = address; line.append(" "); });
  });
}
function downloads(tools, files) {
  for (const [name, text] of Object.entries(files)) {
    const save = add(tools, "button", "save " + name);
    save.addEventListener("click", () => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
  }
}
function runs({ head, rows }) {
  const node = section("Runs", "Every run with the settings in which runs differ. Click a column header to sort.");
  const input = add(add(add(node, "div", null, "controls"), "label", "filter "), "input");
  input.id = "filter";
  const { filter } = table(node, head, rows, 2, true);
  input.addEventListener("input", () => filter(input.value));
}

const built = unpacked("data").then(text => {
  const comparison = JSON.parse(text);
  downloads(heading(comparison.title), comparison.files);
  main.appendChild(contents);
  about(comparison.header, comparison.commands, comparison.links);
  if (comparison.notes.length) list(section("Notes"), comparison.notes);
  comparison.sheets.forEach(({ title, caption, head, rows, words }) => table(section(title, caption), head, rows, words, false));
  comparison.panels.forEach(({ title, caption, variants }) => plotted(section(title, caption), variants));
  runs(comparison.runs);
  if (comparison.gallery) gallery(comparison.gallery);
  if (comparison.left.length) list(section("Left out"), comparison.left);
  document.body.classList.add("built");
}).catch(error => {
  add(main, "p", `This browser cannot show the page (${error}): open it with Firefox 113, Chrome 103, Safari 16.4 or newer.`);
  throw error;
});
// The source of plotly is read once the content is on the screen.
const ready = built.then(afterwards).then(() => unpacked("plotly")).then(source => { add(document.head, "script", source); });
