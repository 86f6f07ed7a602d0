"use strict";
// Text reaches the page as textContent only: a response may hold markup.
const SECONDS = 2;
const TOKEN = new URLSearchParams(location.search).get("token");
const SVG = "http://www.w3.org/2000/svg";
const at = (id) => document.getElementById(id);
let state = null, shown = 0, asked = 0;

function made(tag, text, className) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
}

function drawn(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function number(value) {
  if (value === null || value === undefined) return "-";
  if (value !== 0 && Math.abs(value) < 0.001) return value.toExponential(1);
  return String(Math.round(value * 1000) / 1000);
}

// Round numbers from below the least to above the greatest value: 0, 20, 40, 60, 80 for 3 to 75.781.
function ticks(low, high) {
  const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((size) => size >= rough * 0.999);
  const first = Math.floor(low / step + 1e-9), last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, place) => Number(((first + place) * step).toPrecision(12)));
}

function chart(curve) {
  const [width, height, left, bottom] = [320, 170, 46, 24];
  const steps = curve.points.map((point) => point[0]), values = curve.points.map((point) => point[1]);
  const first = Math.min(...steps), last = Math.max(...steps, first + 1);
  let low = Math.min(0, ...values), high = Math.max(...values);
  if (high === low) high = low + 1;
  const marks = ticks(low, high);
  low = marks[0];
  high = marks[marks.length - 1];
  const x = (step) => left + ((step - first) / (last - first)) * (width - left - 8);
  const y = (value) => height - bottom - ((value - low) / (high - low)) * (height - bottom - 10);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": curve.label });
  svg.append(drawn("path", { class: "axis", d: `M${left},8V${height - bottom}H${width - 8}` }));
  for (const mark of marks) {
    svg.append(drawn("path", { class: "grid", d: `M${left},${y(mark)}H${width - 8}` }));
    svg.append(drawn("text", { x: left - 5, y: y(mark) + 4, "text-anchor": "end", class: "mark" }, number(mark)));
  }
  svg.append(drawn("text", { x: left, y: height - 6 }, number(first)));
  svg.append(drawn("text", { x: width - 8, y: height - 6, "text-anchor": "end" }, `training step ${number(last)}`));
  const path = curve.points.map((point) => `${x(point[0])},${y(point[1])}`).join("L");
  svg.append(drawn("path", { class: "line", d: `M${path}` }));
  const figure = made("figure");
  figure.append(made("figcaption", `${curve.label}: ${number(values[values.length - 1])}`), svg);
  return figure;
}

function options(select, values, chosen) {
  select.replaceChildren(...values.map(([value, text]) => {
    const option = made("option", text);
    option.value = value;
    option.selected = value === chosen;
    return option;
  }));
}

function article(row) {
  const element = made("article", undefined, row.verdict);
  const facts = [row.verdict, row.reason, `${number(row.length)} tokens`];
  if (row.truncated) facts.push("truncated");
  if (row.difficulty) facts.push(`difficulty ${row.difficulty}`);
  if (row.reward !== null) facts.push(`reward ${number(row.reward)}`, `advantage ${number(row.advantage)}`);
  for (const [name, value] of Object.entries(row.parts)) facts.push(`${name} ${number(value)}`);
  element.append(made("div", facts.filter(Boolean).join(" · "), "note"));
  element.append(made("strong", row.prompt), made("pre", row.response), made("div", `gold: ${row.gold}`, "note"));
  return element;
}

async function asked_for(address) {
  const answer = await fetch(address, { headers: { Authorization: `token ${TOKEN}` } });
  if (answer.status === 403) throw new Error("the server was started anew: open the address that it printed");
  const content = await answer.json();
  if (content.error) throw new Error(content.error);
  return content;
}

async function rows(more) {
  const mine = ++asked;
  if (!more) shown = 0;
  const query = new URLSearchParams({ kind: at("kind").value, step: at("step").value || "0",
    verdict: at("verdict").value, difficulty: at("difficulty").value, offset: String(shown) });
  const content = await asked_for(`/api/rollouts?${query}`);
  if (mine !== asked) return;
  const articles = content.rows.map(article);
  if (more) at("rows").append(...articles); else at("rows").replaceChildren(...articles);
  shown += articles.length;
  at("count").textContent = `${shown} of ${content.total} responses`;
  at("more").hidden = shown >= content.total;
  options(at("difficulty"), [["", "all"], ...content.difficulties.map((one) => [one, one])], at("difficulty").value);
}

async function steps() {
  const known = state.rollouts[at("kind").value].map(String);
  const newest = known[known.length - 1] || "";
  const before = at("step").value;
  const chosen = at("follow").checked || !known.includes(before) ? newest : before;
  options(at("step"), known.map((one) => [one, one]), chosen);
  if (chosen !== before || !known.length) await rows(false);
}

async function refresh() {
  try {
    state = await asked_for("/api/state");
    at("name").textContent = state.name;
    at("progress").textContent = `step ${state.step}, ${state.finished ? "finished" : "not finished"}`;
    at("curves").replaceChildren(...state.curves.map(chart));
    await steps();
    at("error").textContent = "";
  } catch (error) {
    at("error").textContent = error.message;
  }
  setTimeout(refresh, 1000 * SECONDS);
}

function changed(action) {
  return () => action().catch((error) => { at("error").textContent = error.message; });
}

async function start() {
  state = await asked_for("/api/state");
  if (!state.rollouts.training.length) at("kind").value = "validation";
  await refresh();
}

at("kind").addEventListener("change", changed(async () => { at("step").value = ""; await steps(); await rows(false); }));
at("step").addEventListener("change", changed(async () => { at("follow").checked = false; await rows(false); }));
for (const id of ["verdict", "difficulty"]) at(id).addEventListener("change", changed(() => rows(false)));
at("more").addEventListener("click", changed(() => rows(true)));
at("filters").addEventListener("submit", (event) => event.preventDefault());
start().catch((error) => { at("error").textContent = error.message; });
