// Figures as SVG: panels over one axis of time, in the colours of the page.
"use strict";
import { clock, day, fixed, hour, localHour } from "./words.js";

const LEFT = 46, RIGHT = 8, AXIS = 38, GAP = 26, WIDE = 7;  // the last: of a letter

function shape(name, attributes, style = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  for (const [key, value] of Object.entries(style)) element.style.setProperty(key, value.startsWith("--") ? `var(${value})` : value);
  element.append(...children);
  return element;
}

function ticks(low, high, most) {
  const raw = (high - low) / most || 1, size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * size).find((candidate) => candidate >= raw * 0.999) ?? 10 * size;
  const found = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + 1e-9 * step; value += step) found.push(value);
  return found;
}

// panels: [{ height, unit, low, high, divisor, series: [{ kind, tint, points }] }]; a point is
// [start, end, value] of steps, [start, end, low, high] of bars and bands, [time, value] of lines.
export function figure(label, first, last, panels, notes = [], now = null) {
  const holder = document.createElement("div");
  holder.className = "figure";
  const draw = () => {
    const width = holder.clientWidth || 600;
    const height = panels.reduce((sum, panel) => sum + panel.height + GAP, 0) + AXIS;
    const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": label });
    const x = (time) => LEFT + (width - LEFT - RIGHT) * (new Date(time) - new Date(first)) / (new Date(last) - new Date(first));
    let top = GAP;
    for (const panel of panels) { svg.append(...drawn(panel, top, width, x)); top += panel.height + GAP; }
    svg.append(...times(first, last, x, width, top - GAP));
    if (now && new Date(now) >= new Date(first) && new Date(now) <= new Date(last))
      svg.append(shape("line", { x1: x(now), x2: x(now), y1: 0, y2: top - GAP }, { stroke: "--ink", "stroke-dasharray": "3 3" }));
    for (const [start, end, text] of notes)
      svg.append(shape("rect", { x: x(start), y: 0, width: Math.max(0, x(end) - x(start)), height: top }, { fill: "transparent" },
        shape("title", {}, {}, `${clock(start)}: ${text}`)));
    holder.replaceChildren(svg);
  };
  new ResizeObserver(draw).observe(holder);
  return holder;
}

function drawn(panel, top, width, x) {
  const divisor = panel.divisor ?? 1;
  const values = panel.series.flatMap((one) => one.points.flatMap((point) => point.slice(one.kind === "line" ? 1 : 2))).filter(Number.isFinite);
  let low = panel.low ?? Math.min(0, ...values), high = panel.high ?? Math.max(0, ...values);
  if (low === high) high = low + 1;
  const y = (value) => top + panel.height * (high - value) / (high - low);
  const found = [shape("text", { x: LEFT, y: top - 9 }, {}, panel.unit)];
  const shown = ticks(low / divisor, high / divisor, panel.height / 45);
  const digits = shown.length > 1 && shown[1] - shown[0] < 1 ? (shown[1] - shown[0] < 0.1 ? 2 : 1) : 0;
  for (const value of shown) {
    found.push(shape("line", { x1: LEFT, x2: width - RIGHT, y1: y(value * divisor), y2: y(value * divisor) }, { stroke: value ? "--line" : "--quiet" }));
    found.push(shape("text", { x: LEFT - 6, y: y(value * divisor) + 4, "text-anchor": "end" }, {}, fixed(value, digits)));
  }
  for (const one of panel.series) {
    if (one.kind === "bars")
      for (const [start, end, from, to] of one.points)
        found.push(shape("rect", { x: x(start) + 0.5, width: Math.max(0.5, x(end) - x(start) - 1), y: y(Math.max(from, to)), height: Math.abs(y(from) - y(to)) }, { fill: one.tint }));
    if (one.kind === "band" && one.points.length) {
      const upper = one.points.flatMap(([start, end, , to]) => [`${x(start)} ${y(to)}`, `${x(end)} ${y(to)}`]);
      const lower = one.points.flatMap(([start, end, from]) => [`${x(start)} ${y(from)}`, `${x(end)} ${y(from)}`]).reverse();
      found.push(shape("path", { d: `M${[...upper, ...lower].join("L")}Z` }, { fill: one.tint }));
    }
    if (one.kind === "steps" || one.kind === "line") {
      const points = one.kind === "line" ? one.points.map(([time, value]) => [x(time), y(value)])
        : one.points.flatMap(([start, end, value]) => [[x(start), y(value)], [x(end), y(value)]]);
      if (points.length)
        found.push(shape("path", { d: `M${points.map((point) => point.join(" ")).join("L")}` }, { fill: "none", stroke: one.tint, "stroke-width": "2", ...(one.dash ? { "stroke-dasharray": one.dash } : {}) }));
    }
  }
  return found;
}

function times(first, last, x, width, bottom) {
  const found = [], hours = (new Date(last) - new Date(first)) / 3600000;
  const every = [1, 2, 3, 6, 12, 24].find((step) => hours / step * 46 <= width - LEFT) ?? 24;
  let before = null, told = -Infinity, named = -Infinity;  // no label lies on another
  for (let time = Math.ceil(new Date(first) / 3600000) * 3600000; time <= new Date(last).getTime(); time += 3600000) {
    const text = hour(time), half = text.length * WIDE / 2;
    if (localHour(time) % every || x(time) - half < told || x(time) + half > width) continue;
    told = x(time) + half + WIDE;
    found.push(shape("line", { x1: x(time), x2: x(time), y1: bottom, y2: bottom + 4 }, { stroke: "--quiet" }));
    found.push(shape("text", { x: x(time), y: bottom + 20, "text-anchor": "middle" }, {}, text));
    const name = day(time);
    const start = x(time) - 14, end = start + name.length * WIDE;
    if (name !== before && start >= named && end <= width) {
      found.push(shape("text", { x: start, y: bottom + 35 }, {}, name));
      named = end + WIDE;
    }
    before = name;
  }
  return found;
}
