  const plotted = JSON.parse(document.getElementById("plotted").textContent);
  const root = document.documentElement;
  const tip = document.getElementById("tip");
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];

  // Light and dark: as the system says, until the reader says otherwise.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  document.getElementById("theme").addEventListener("click", () => {
    const now = root.dataset.theme || (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
  });

  // Paper shows what a screen folds away.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details:not([open])");
    folded.forEach((part) => (part.open = true));
  });
  addEventListener("afterprint", () => folded.forEach((part) => (part.open = false)));

  const press = (button) => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", on);
    return on;
  };
  const within = (svg, event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  const say = (text, x, y) => {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - box.width - 8))}px`;
    tip.style.top = `${y + 16 + box.height > innerHeight ? y - box.height - 10 : y + 16}px`;
  };
  const hush = () => (tip.hidden = true);
  addEventListener("keydown", (event) => event.key === "Escape" && hush());

  // Curves: a cursor at the nearest logged step, with every visible line's value there.
  const charts = all("svg[data-chart]").map((svg) => {
    const values = plotted.charts[svg.dataset.chart];
    const lines = all(".line", svg).map((node, i) => ({
      node,
      ...values[i],
      at: node.querySelector("path").getAttribute("d").slice(1).split("L").map((pair) => Number(pair.split(",")[0])),
    }));
    return { svg, lines, cursor: svg.querySelector(".cursor") };
  });
  const nearest = (list, target) => list.reduce((best, value, i) => (Math.abs(value - target) < Math.abs(list[best] - target) ? i : best), 0);
  const written = (value) => (value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential(2) : String(value));
  const read = (chart, across, x, y) => {
    const shown = chart.lines.filter((line) => !line.node.hasAttribute("hidden"));
    if (!shown.length) return hush();
    const places = shown.map((line) => ({ line, i: nearest(line.at, across) }));
    const lead = places.reduce((a, b) => (Math.abs(b.line.at[b.i] - across) < Math.abs(a.line.at[a.i] - across) ? b : a));
    chart.at = lead.line.at[lead.i];
    chart.cursor.setAttribute("d", `M${chart.at},12V212`);
    chart.cursor.removeAttribute("hidden");
    const near = places.filter(({ line, i }) => Math.abs(line.at[i] - chart.at) < 8);
    const rows = near.slice(0, 12).map(({ line, i }) => `${line.name}: ${written(line.y[i])}`);
    if (near.length > 12) rows.push(`and ${near.length - 12} more`);
    say([`${chart.unit} ${written(lead.line.x[lead.i])}`, ...rows].join("\n"), x, y);
  };
  const leave = (chart) => {
    chart.cursor.setAttribute("hidden", "");
    hush();
  };
  charts.forEach((chart) => {
    chart.unit = chart.svg.querySelector(".unit").textContent;
    chart.svg.addEventListener("pointermove", (event) => read(chart, within(chart.svg, event).x, event.clientX, event.clientY));
    chart.svg.addEventListener("pointerleave", () => leave(chart));
    chart.svg.addEventListener("blur", () => leave(chart));
    chart.svg.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!way) return;
      event.preventDefault();
      const stops = [...new Set(chart.lines.flatMap((line) => line.at))].sort((a, b) => a - b);
      const now = chart.at === undefined ? -1 : stops.indexOf(chart.at);
      const box = chart.svg.getBoundingClientRect();
      const across = stops[Math.max(0, Math.min(stops.length - 1, now + way))];
      read(chart, across, box.left + (across / 400) * box.width, box.top + 20);
    });
  });
