// Asks for figures.json every second and shows whatever numbers are in it.
"use strict";

const SECONDS_SHOWN = 120;
const TILES = [
  ["server", "connections", "connections"],
  ["server", "tasks_threads_busy", "threads busy"],
  ["server", "tasks_pending", "tasks waiting"],
  ["process", "memory_bytes", "memory"],
  ["process", "uptime_seconds", "up for"],
];
const COUNTED = "requests";

const byId = (id) => document.getElementById(id);
const rates = [];
let before = null;

function amount(name, value) {
  if (/bytes/.test(name)) {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let size = value, unit = 0;
    while (size >= 1024 && unit < units.length - 1) { size /= 1024; unit += 1; }
    return `${unit ? size.toFixed(1) : size} ${units[unit]}`;
  }
  if (/uptime/.test(name)) {
    const whole = Math.floor(value), two = (n) => String(n).padStart(2, "0");
    const days = Math.floor(whole / 86400), hours = Math.floor(whole / 3600) % 24;
    return `${days ? `${days} d ` : ""}${hours}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  }
  if (/seconds/.test(name)) return `${value.toFixed(value < 10 ? 2 : 0)} s`;
  return Number.isInteger(value) ? value.toLocaleString() : value.toFixed(2);
}

const label = (name) => name.replace(/_(bytes|seconds)$/, "").replace(/_/g, " ");

function element(tag, text, ...children) {
  const made = document.createElement(tag);
  if (text !== null) made.textContent = text;
  made.append(...children);
  return made;
}

function draw() {
  const highest = Math.max(1, ...rates), step = 600 / (SECONDS_SHOWN - 1);
  const points = rates.map((rate, index) => {
    const x = 600 - (rates.length - 1 - index) * step;
    return `${x.toFixed(1)},${(116 - 108 * rate / highest).toFixed(1)}`;
  });
  if (!points.length) return;
  byId("line").setAttribute("d", `M${points.join("L")}`);
  byId("area").setAttribute("d", `M${points[0].split(",")[0]},120L${points.join("L")}L600,120Z`);
}

function show(figures, now) {
  byId("facts").textContent = Object.entries(figures.facts).map(([name, text]) => `${name} ${text}`).join(" \u00b7 ");
  const count = figures.server[COUNTED];
  if (before && count >= before.count && now > before.now) {
    const rate = (count - before.count) * 1000 / (now - before.now);
    rates.push(rate);
    if (rates.length > SECONDS_SHOWN) rates.shift();
    byId("rate").textContent = rate < 10 ? rate.toFixed(1) : Math.round(rate).toLocaleString();
    draw();
  }
  before = { now, count };
  byId("tiles").replaceChildren(...TILES.filter(([part, key]) => key in figures[part]).map(([part, key, text]) => {
    const tile = element("div", null, element("b", amount(key, figures[part][key])), element("span", text));
    tile.className = "tile";
    return tile;
  }));
  const all = [...Object.entries(figures.server), ...Object.entries(figures.process)];
  byId("all").replaceChildren(...all.filter(([, value]) => typeof value === "number").map(
    ([key, value]) => element("div", null, element("dt", label(key)), element("dd", amount(key, value)))));
}

async function refresh() {
  try {
    const answer = await fetch("figures.json", { cache: "no-store" });
    if (!answer.ok) throw new Error(answer.status);
    show(await answer.json(), performance.now());
    byId("light").className = "light";
  } catch {
    byId("light").className = "light lost";
    byId("facts").textContent = "The server does not answer.";
  }
  setTimeout(refresh, 1000);
}

async function ask(button, path, count) {
  button.disabled = true;
  const start = performance.now();
  try {
    await Promise.all(Array.from({ length: count }, () => fetch(path, { cache: "no-store" })));
    byId("result").textContent = `${count} answers in ${((performance.now() - start) / 1000).toFixed(2)} s`;
  } catch {
    byId("result").textContent = "the server does not answer";
  }
  button.disabled = false;
}

byId("burst").addEventListener("click", (event) => ask(event.currentTarget, "hello", 500));
byId("naps").addEventListener("click", (event) => ask(event.currentTarget, "nap", 6));
refresh();
