// Reads the API, shows its parts, and reads those again that the server says have changed.
"use strict";
import { clockText, forecastKey, forecastPart, healthPart, historyPart, nowPart, orderText, planPart, summaryText } from "./parts.js";
import { fullDay, h, moment, quiet, setPlace, table, withZone, zoneName } from "./words.js";

const MOST_FANS = 12, AGAIN_MS = 30000;
const at = (id) => document.getElementById(id);
// Elements that would look the same stay, and with them the focus and what is selected.
function show(id, parts) {
  const fresh = document.createElement("div");
  fresh.append(...[parts].flat());
  if (fresh.innerHTML !== at(id).innerHTML) at(id).replaceChildren(...fresh.childNodes);
}
let now = null, plan = null, day = null, held = null;

class Refused extends Error {}

async function ask(path, body) {
  const options = body === undefined ? {} : { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  const response = await fetch(path, { ...options, cache: "no-store", signal: AbortSignal.timeout(60000) });
  if (response.status === 401) location.reload();
  const found = await response.json();
  if (!response.ok) throw new Refused(found.detail);
  return found;
}

// Shows a part, or why it cannot be shown; a part that is asked for while it loads is loaded again after.
const running = new Map();
function part(name, id, load) {
  const again = async () => {
    try { const parts = await load(); if (parts) show(id, parts); }
    catch (error) { show(id, h("p", { class: "warning" }, error instanceof Refused ? error.message : "The server does not answer. It is tried again.")); }
  };
  return async () => {
    if (running.has(name)) { running.set(name, true); return; }
    do { running.set(name, false); await again(); } while (running.get(name));
    running.delete(name);
  };
}

const readNow = part("now", "now-body", async () => {
  now = await ask("/api/now");
  setPlace(now.site);
  document.title = `${now.health.healthy ? "" : "! "}${now.site.name}`;
  at("site").textContent = now.site.name;
  at("clock").textContent = `${clockText(now)}.`;
  at("zone").textContent = zoneName();
  const count = now.health.problems.length;
  const banner = count ? `${count} ${count === 1 ? "thing needs" : "things need"} attention: ${now.health.problems[0]}` : "";
  if (at("banner").textContent !== banner) show("banner", count ? h("p", { class: "warning" }, h("a", { href: "#health" }, banner)) : []);
  if (at("summary").textContent !== summaryText(now)) at("summary").textContent = summaryText(now);
  show("health-body", healthPart(now));
  orders();
  if (plan && plan.run.run_id === now.plan?.run_id && held !== now.interval?.time) drawPlan();
  return nowPart(now);
});
const readPlan = part("plan", "plan-body", async () => {
  if (!now.plan) return h("p", { class: "warning" }, "There is no plan yet. Run ", h("code", {}, "python optimization.py"), ".");
  plan = await ask("/api/plan");
  held = now.interval?.time;
  return planPart(plan, now);
});
const readForecasts = part("forecasts", "forecasts-body", async () => {
  const sources = now.health.sources, found = [];
  for (const source of sources.slice(0, MOST_FANS)) {
    if (!source.forecast_issue_time) { found.push(h("div", {}, h("h3", {}, source.name), quiet("There is no forecast yet."))); continue; }
    try { found.push(forecastPart(await ask(`/api/forecasts?source_id=${encodeURIComponent(source.source_id)}`), now)); }
    catch (error) { if (!(error instanceof Refused)) throw error; found.push(h("div", {}, h("h3", {}, source.name), quiet(error.message))); }
  }
  if (sources.length > MOST_FANS) found.push(quiet(`${sources.length - MOST_FANS} more sources: /api/forecasts has them.`));
  return found.length ? [forecastKey(), h("div", { class: "fans" }, found)] : quiet("There are no sources yet.");
});
const readHistory = part("history", "history-body", async () => {
  const date = at("date").value;
  day = await ask(`/api/history?period=${at("period").value}${date ? `&date=${date}` : ""}`);
  at("date").value = day.date;
  return historyPart(day);
});

function drawPlan() { // the interval that holds is another one
  held = now.interval?.time;
  show("plan-body", planPart(plan, now));
}

function orders() {
  const names = now.batteries.map((one) => one.battery_id);
  if ([...at("battery").options].map((option) => option.value).join("\n") !== names.join("\n"))
    show("battery", names.map((name) => h("option", { value: name }, name)));
  const rows = now.batteries.filter((one) => one.override).map((one) => [one.battery_id, orderText(one.override),
    h("button", { type: "button", onclick: () => give({ battery_id: one.battery_id, override: "auto", name: one.override.name, reason: "ended on the page" }) }, `End ${one.battery_id}`)]);
  show("orders", rows.length ? table("Orders in force", ["Battery", "Order", "End it"], rows) : quiet("No order is in force."));
}

async function give(order) {
  at("answer").textContent = "";
  try {
    await ask("/api/override", order);
    at("answer").className = "good";
    at("answer").textContent = `${order.battery_id}: ${order.override} is ordered. The next plan follows it.`;
  } catch (error) {
    at("answer").className = "bad";
    at("answer").textContent = error instanceof Refused ? error.message : "The server does not answer; nothing was ordered.";
  }
  readNow();
}

function fitForm() {
  const word = at("word").value;
  at("soc-label").hidden = !["charge", "discharge"].includes(word);
  at("until-label").hidden = word === "auto";
}
at("word").addEventListener("change", fitForm);
at("order").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = Object.fromEntries(new FormData(event.target)), takesSoc = !at("soc-label").hidden;
  const order = { battery_id: given.battery_id, override: given.override, name: given.name, reason: given.reason };
  if (takesSoc && given.soc !== "") order.soc = Number(given.soc) / 100;
  if (given.until && given.override !== "auto") order.until = moment(given.until);
  give(order);
});
for (const id of ["period", "date"]) at(id).addEventListener("change", readHistory);
for (const id of ["previous", "next"]) at(id).addEventListener("click", () => { if (day) { at("date").value = day[id]; readHistory(); } });

function live() {
  const source = new EventSource("/api/events");
  const say = (text, kind) => { at("live").textContent = text; at("live").className = kind; };
  const on = { hello: [readNow], states: [readNow], overrides: [readNow], jobs: [readNow], alerts: [readNow], plan: [async () => { await readNow(); await readPlan(); }], forecasts: [async () => { await readNow(); await readForecasts(); }], ledger: [readHistory] };
  for (const [name, parts] of Object.entries(on)) source.addEventListener(name, () => { say("Live.", "good"); parts.forEach((read) => read()); });
  source.addEventListener("away", () => say("The database is away.", "bad"));
  source.addEventListener("error", () => { say("Not connected; trying again.", "bad"); if (source.readyState === EventSource.CLOSED) { source.close(); setTimeout(live, 5000); } });
}

fitForm();
document.loaded = (async () => {
  await readNow();
  await Promise.all([readPlan(), readForecasts(), readHistory()]);
  live();
  setInterval(() => { if (!document.hidden) readNow(); }, AGAIN_MS);
})();
