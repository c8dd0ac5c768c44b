// Numbers and times in words, as the report has them; and elements of the page, whose text is text.
"use strict";
let zone = "UTC", currency = "EUR";
const formats = new Map();

export function setPlace(site) { zone = site.time_zone; currency = site.currency; formats.clear(); }
export const zoneName = () => zone;

function format(name, options) {
  if (!formats.has(name)) formats.set(name, new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", ...options }));
  return formats.get(name);
}
const plainHour = (time) => format("hour", { hour: "2-digit", minute: "2-digit" }).format(new Date(time));
// A time that the clocks show twice, since they go back then, is told with its zone.
export function hour(time) {
  const at = new Date(time).getTime(), text = plainHour(at);
  return [-60, -30, 30, 60].some((min) => plainHour(at + min * 60000) === text) ? `${text} ${zoneShort(at)}` : text;
}
export const day = (time) => format("day", { weekday: "short", day: "numeric", month: "short" }).format(new Date(time)).replace(",", "");
export const fullDay = (time) => format("fullDay", { weekday: "short", day: "numeric", month: "short", year: "numeric" }).format(new Date(time)).replace(",", "");
export const month = (time) => format("month", { month: "long", year: "numeric" }).format(new Date(time));
export const clock = (time) => time == null ? "–" : `${day(time)} ${hour(time)}`;
const zoneShort = (time) => format("short", { timeZoneName: "short" }).formatToParts(new Date(time)).find((part) => part.type === "timeZoneName").value;
export const withZone = (time) => `${plainHour(time)} ${zoneShort(time)}`;
export const localHour = (time) => Number(format("h", { hour: "2-digit" }).format(new Date(time)));

const known = (value) => value != null && Number.isFinite(value);
export function fixed(value, digits) {
  if (!known(value)) return "–";
  const text = Math.abs(value).toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return /[1-9]/.test(text) && value < 0 ? `−${text}` : text;
}
export function amount(value, unit) {
  if (!known(value)) return "–";
  const size = Math.abs(value);
  return `${fixed(value, size >= 100 ? 0 : size >= 10 ? 1 : size ? 2 : 0)} ${unit}`;
}
export const power = (kw) => known(kw) && Math.abs(kw) >= 1000 ? amount(kw / 1000, "MW") : amount(kw, "kW");
export const energy = (kwh) => known(kwh) && Math.abs(kwh) >= 1000 ? amount(kwh / 1000, "MWh") : amount(kwh, "kWh");
export const money = (value) => known(value) ? `${fixed(value, Math.abs(value) >= 1000 ? 0 : 2)} ${currency === "EUR" ? "€" : currency}` : "–";
export const priceUnit = () => `${currency}/MWh`;
export const share = (value) => known(value) ? `${fixed(100 * value, 0)} %` : "–";
export function age(seconds) {
  if (!known(seconds)) return "–";
  const past = Math.abs(seconds);
  const text = past < 90 ? `${Math.round(past)} s` : past < 5400 ? `${Math.round(past / 60)} min` : past < 172800 ? `${Math.round(past / 3600)} h` : `${Math.round(past / 86400)} days`;
  return seconds < -1 ? `in ${text}` : text;
}

// The moment at which the clocks of the zone show a text such as 2025-03-01T12:00.
export function moment(text) {
  const shown = new Date(`${text}Z`).getTime();
  let found = shown;
  for (let round = 0; round < 2; round += 1) {
    const parts = Object.fromEntries(format("all", { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" })
      .formatToParts(new Date(found)).map((part) => [part.type, Number(part.value)]));
    found += shown - Date.UTC(parts.year, parts.month - 1, parts.day, parts.hour, parts.minute);
  }
  return new Date(found).toISOString();
}

// An element: h("td", { class: "number" }, "12"). Children are elements or text, never markup.
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("--")) element.style.setProperty(key, value);
    else if (key === "style") Object.assign(element.style, value);
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}
export const quiet = (text) => h("p", { class: "quiet" }, text);
export const card = (label, value, note, kind = "") =>
  h("div", { class: `card ${kind}` }, h("span", { class: "quiet" }, label), h("b", {}, value), h("span", { class: "quiet" }, note));

// A table; a name that ends in "|" marks a column of numbers, and the first cell of a row is its head.
export function table(caption, names, rows, kinds = []) {
  const numeric = names.map((name) => name.endsWith("|"));
  const head = h("tr", {}, names.map((name, i) => h("th", { scope: "col", class: numeric[i] && "number" }, name.replace("|", ""))));
  const body = rows.map((row, r) => h("tr", { class: kinds[r] }, row.map((cell, i) =>
    h(i ? "td" : "th", { scope: !i && "row", class: numeric[i] ? "number" : names[i] === "Why" && "why" }, cell))));
  const scroll = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h("table", {}, h("thead", {}, head), h("tbody", {}, body)));
  const held = body.find((row) => row.className === "held");
  if (held) requestAnimationFrame(() => { scroll.scrollTop = held.offsetTop - 2.2 * held.offsetHeight; });
  return scroll;
}
export function legend(entries) {
  return h("ul", { class: "key" }, entries.map(([label, tint, shape]) => h("li", {}, h("span", { class: shape, "--swatch": `var(--${tint})` }, label))));
}
