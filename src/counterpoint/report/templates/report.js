  const copy = document.getElementById("copy");
  copy.addEventListener("click", () => {
    getSelection().selectAllChildren(document.getElementById("command"));
    copy.textContent = document.execCommand("copy") ? "Copied" : "Press Ctrl+C";
  });

  all("[data-toggle]").forEach((button) => {
    const lines = all(`#curves [data-cell="${button.dataset.toggle}"]`);
    button.addEventListener("click", () => {
      const on = press(button);
      lines.forEach((line) => line.toggleAttribute("hidden", !on));
    });
    const fade = (faint) => all("#curves .line").forEach((line) => line.classList.toggle("faint", faint && !lines.includes(line)));
    button.addEventListener("pointerenter", () => fade(true));
    button.addEventListener("pointerleave", () => fade(false));
  });

  // The map: what a point is, and which points there are.
  const scatter = document.getElementById("scatter");
  const ring = document.getElementById("ring");
  const spoken = document.getElementById("spoken");
  const { names, of, places } = plotted.map;
  const legends = Object.fromEntries(all(".categories").map((node) => [node.dataset.mode, all("button", node)]));
  const points = all("#points use").map((node, i) => ({
    node,
    x: Number(node.getAttribute("x")),
    y: Number(node.getAttribute("y")),
    split: node.getAttribute("href") === "#m0" ? 0 : 1,
    of: Object.fromEntries(Object.keys(of).map((mode) => [mode, of[mode][i]])),
    name: names[i],
  }));
  let mode = "label";
  let current = null;
  const named = (point, kind) => legends[kind][point.of[kind]].querySelector("span").textContent;
  const pick = (point) => {
    current = point;
    ring.setAttribute("cx", point.x);
    ring.setAttribute("cy", point.y);
    ring.removeAttribute("hidden");
    const text = [`recording ${point.name}`, ...Object.keys(legends).map((kind) => `${kind} ${named(point, kind)}`), `split ${point.split ? "test" : "train"}`];
    const place = new DOMPoint(point.x, point.y).matrixTransform(scatter.getScreenCTM());
    say(text.join("\n"), place.x, place.y);
    return text.join(", ");
  };
  const drop = () => {
    ring.setAttribute("hidden", "");
    hush();
  };
  const redraw = () => {
    const on = (button) => button.getAttribute("aria-pressed") === "true";
    const splits = all("[data-split]").map(on);
    const kept = legends[mode].map(on);
    points.forEach((point) => {
      const entry = point.of[mode];
      point.shown = splits[point.split] && kept[entry];
      point.node.toggleAttribute("hidden", !point.shown);
      point.node.setAttribute("class", `s${legends[mode][entry].dataset.slot}`);
    });
    drop();
  };
  const closest = (candidates, score) => candidates.reduce((best, point) => (score(point) < (best ? score(best) : Infinity) ? point : best), null);
  scatter.addEventListener("pointermove", (event) => {
    const at = within(scatter, event);
    const point = closest(points.filter((p) => p.shown), (p) => Math.hypot(p.x - at.x, p.y - at.y));
    if (point && Math.hypot(point.x - at.x, point.y - at.y) < 16) pick(point);
    else drop();
  });
  scatter.addEventListener("pointerleave", drop);
  scatter.addEventListener("blur", drop);
  scatter.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way) return;
    event.preventDefault();
    const shown = points.filter((p) => p.shown);
    const from = current && current.shown ? current : null;
    const ahead = (p) => (p.x - from.x) * way[0] + (p.y - from.y) * way[1];
    const aside = (p) => Math.abs((p.x - from.x) * way[1]) + Math.abs((p.y - from.y) * way[0]);
    const next = from ? closest(shown.filter((p) => ahead(p) > 0.05), (p) => ahead(p) + 2 * aside(p)) || from : shown[0];
    if (next) spoken.textContent = pick(next);
  });
  // Where points lie: the page is written with the first layout.
  const lay = (layout) => {
    points.forEach((point, i) => {
      [point.x, point.y] = places[layout][i];
      point.node.setAttribute("x", point.x);
      point.node.setAttribute("y", point.y);
    });
    all("[data-told]").forEach((node) => (node.hidden = node.dataset.told !== layout));
    drop();
  };
  const layouts = all('input[name="layout"]');
  layouts.forEach((input) => input.addEventListener("change", () => lay(input.value)));
  all('input[name="mode"]').forEach((input) => input.addEventListener("change", () => {
    mode = input.value;
    all(".categories").forEach((node) => (node.hidden = node.dataset.mode !== mode));
    redraw();
  }));
  all("[data-split], [data-category]").forEach((button) => button.addEventListener("click", () => {
    press(button);
    redraw();
  }));
  // A browser may keep the reader's last choice of colouring when the page is loaded again.
  mode = document.querySelector('input[name="mode"]:checked').value;
  all(".categories").forEach((node) => (node.hidden = node.dataset.mode !== mode));
  lay((layouts.find((input) => input.checked) || { value: "pca" }).value);
  redraw();
