// The parts of the page, each from what the API answers to elements.
"use strict";
import { figure } from "./draw.js";
import { age, amount, card, clock, day, energy, fixed, fullDay, h, hour, legend, money, month, power, priceUnit, quiet, share, table, withZone } from "./words.js";

const SUPPLY = [["discharge_kw", "Battery discharges", "discharge"], ["renewables_kw", "Sun and wind", "renewables"], ["grid_import_kw", "Grid import", "import"]];
const DEMAND = [["charge_kw", "Battery charges", "charge"], ["load_kw", "Load", "load"], ["grid_export_kw", "Grid export", "export"], ["curtailed_kw", "Curtailed", "curtailed"]];
const TINTS = { load: "load", solar: "solar", wind: "wind", market: "market" };
const MOST_BATTERIES = 60;
const DOES = { charge: "charges", discharge: "discharges", hold: "holds" };
const CLOCKS = { plant: "on the plant's clock", wall: "", data: "at the end of the data" };
const missing = (text, command) => h("p", { class: "warning" }, `${text} Run `, h("code", {}, command), ".");
const end = (rows, i) => rows[i + 1]?.time ?? new Date(new Date(rows[i].time).getTime() + stepOf(rows)).toISOString();
const stepOf = (rows) => rows.length > 1 ? new Date(rows[1].time) - new Date(rows[0].time) : 3600000;
const netOf = (row) => (row.charge_kw ?? 0) - (row.discharge_kw ?? 0);

const why = (reason) => reason ? `: ${reason.replace(/^(charge|discharge|hold): /, "")}` : "";

export const clockText = (now) => `${fullDay(now.time)}, ${withZone(now.time)} ${CLOCKS[now.clock]}`.trim();

export function nowPart(now) {
  const found = [], planned = now.power.planned, price = now.price;
  const cards = [];
  if (price) {
    const both = Math.abs(price.import_price_eur_per_mwh - price.export_price_eur_per_mwh) > 0.005;
    cards.push(card("Price", amount(price.import_price_eur_per_mwh, priceUnit()), both ? `for export ${amount(price.export_price_eur_per_mwh, priceUnit())}` : "import and export"));
  }
  if (now.plan) cards.push(card("Plan saves", money(now.plan.cost_no_battery_eur - now.plan.cost_eur), "beside no battery", "plan"));
  const ages = new Map(now.health.sources.filter((one) => !one.current).map((one) => [one.source_id, `, ${age(one.age_s)} ago`]));
  for (const source of now.power.measured)
    cards.push(card(source.name, power(source.power_kw), `measured from ${clock(source.time)}${ages.get(source.source_id) ?? ""}`));
  if (cards.length) found.push(h("div", { class: "cards" }, cards));
  if (planned) found.push(h("h3", {}, `Power by plan, from ${hour(now.interval.time)}`), flow("Comes from", SUPPLY, planned), flow("Goes to", DEMAND, planned));
  else found.push(now.plan ? h("p", { class: "warning" }, "No plan holds now.") : missing("There is no plan yet.", "python optimization.py"));
  if (now.batteries.length) found.push(h("h3", {}, "Batteries"), h("div", { class: "batteries" }, now.batteries.slice(0, MOST_BATTERIES).map(battery)));
  if (now.batteries.length > MOST_BATTERIES) found.push(quiet(`${now.batteries.length - MOST_BATTERIES} more batteries: /api/now has them.`));
  if (now.devices.length)
    found.push(h("h3", {}, "Flexible loads"), table("Flexible loads now", ["Device", "Power|", "Why"], now.devices.map((row) => [row.device_id, power(row.power_kw), row.reason ?? "–"])));
  return found;
}

// For screen readers, which are told when it changes: without ages, which always do.
export function summaryText(now) {
  const told = now.batteries.slice(0, 5).map((one) => `${one.battery_id}${one.state ? ` at ${share(one.state.soc)}` : ""}${one.doing ? ` ${DOES[one.doing]}` : ""}`);
  const price = now.price ? [`price ${amount(now.price.import_price_eur_per_mwh, priceUnit())}`] : [];
  return [...told, ...price].join(", ");
}

function flow(title, parts, values) {
  const total = parts.reduce((sum, [name]) => sum + (values[name] ?? 0), 0);
  const own = parts.filter(([name]) => values[name] > 1e-6 * Math.max(total, 1));
  return h("div", { class: "flow" }, quiet(title),
    h("div", { class: "bar", "aria-hidden": "true" }, own.map(([name, , tint]) => h("i", { style: { width: `${100 * values[name] / total}%`, background: `var(--${tint})` } }))),
    h("ul", { class: "values" }, own.map(([name, label, tint]) => h("li", {}, h("span", { "--swatch": `var(--${tint})` }, `${label} ${power(values[name])}`)))));
}

function battery(one) {
  const { state, planned } = one, found = [h("h3", {}, one.battery_id)];
  if (state) {
    found.push(h("p", {}, h("b", {}, share(state.soc)), ` of ${energy(one.capacity_kwh)}`, h("span", { class: "quiet" }, `, ${state.kind} ${age(one.age_s)} ago`)),
      h("div", { class: "soc", role: "img", "aria-label": `State of charge ${share(state.soc)}` },
        h("i", { style: { width: `${Math.min(100, 100 * state.soc)}%` } }), [one.soc_min, one.soc_max].map((bound) => h("b", { style: { left: `${100 * bound}%` } }))));
  } else found.push(h("p", {}, "No state is known. ", h("span", { class: "quiet" }, `The plan starts from its soc_initial.`)));
  if (planned) found.push(h("p", {}, h("b", {}, DOES[one.doing]), one.doing === "hold" ? "" : ` at ${power(Math.abs(netOf(planned)))}`, why(one.reason)));
  if (one.next) found.push(h("p", {}, "Next: ", h("b", {}, DOES[one.next.doing]), one.next.doing === "hold" ? "" : ` at ${power(Math.abs(netOf(one.next)))}`, ` from ${clock(one.next.time)}`, why(one.next.reason)));
  if (one.override) found.push(h("p", { class: "warning" }, orderText(one.override)));
  return h("div", { class: "battery" }, found);
}

export function orderText(order) {
  const who = [order.name, order.reason].filter(Boolean).join(", ");
  return `Ordered: ${order.override}${order.soc == null ? "" : ` to ${share(order.soc)}`}${order.until ? ` until ${clock(order.until)}` : ", until auto"}${who ? ` (${who})` : ""}`;
}

export function planPart(plan, now) {
  const { run, schedule } = plan;
  if (!schedule.length) return [h("p", { class: "warning" }, `The plan of ${clock(run.issue_time)} is ${run.status}: it has no schedule.`)];
  const capacity = now.batteries.reduce((sum, one) => sum + one.capacity_kwh, 0);
  const fleet = new Map(schedule.map((row) => [row.time, { charge_kw: 0, discharge_kw: 0, energy_kwh: 0, known: false }]));
  for (const { states } of plan.batteries) for (const state of states) {
    const sum = fleet.get(state.time);
    if (!sum) continue;
    for (const name of ["charge_kw", "discharge_kw", "energy_kwh"]) sum[name] += state[name] ?? 0;
    sum.known = true;
  }
  const cost = new Map(plan.costs.map((row) => [row.time, row.cost_eur])), band = new Map(plan.bands.map((row) => [row.time, row]));
  let total = 0;
  const rows = schedule.map((row, i) => {
    const own = fleet.get(row.time), euro = cost.get(row.time), wide = band.get(row.time);
    total += euro ?? NaN;
    const local = i && day(row.time) === day(schedule[i - 1].time) ? hour(row.time) : `${day(row.time).slice(0, 3)} ${hour(row.time)}`;
    return [local, fixed(row.import_price_eur_per_mwh, 1), fixed(row.load_kw, 0),
      wide ? `${fixed(row.renewables_kw, 0)} (${fixed(wide.q10_kw, 0)}–${fixed(wide.q90_kw, 0)})` : fixed(row.renewables_kw, 0),
      fixed(netOf(own), 0), fixed(row.grid_import_kw - row.grid_export_kw, 0),
      own.known && capacity ? fixed(100 * own.energy_kwh / capacity, 0) : "–", fixed(euro, 2), fixed(total, 2), row.reason ?? "–"];
  });
  const held = schedule.map((row, i) => new Date(row.time) <= new Date(now.time) && new Date(now.time) < new Date(end(schedule, i)) ? "held" : null);
  const saved = run.cost_no_battery_eur - run.cost_eur;
  return [
    quiet(`Made for ${clock(run.issue_time)}, ${run.status}, run ${run.run_id}. It costs ${money(run.cost_eur)} by forecasts, ${money(Math.abs(saved))} ${saved < 0 ? "more" : "less"} than without battery; energy left at the end counts at one price.`),
    ...startText(run), ...changesPart(plan.changes),
    legend([...SUPPLY, ...DEMAND].map(([, label, tint]) => [label, tint, ""]).concat([["Import price", "price", "rule"], ["State of charge", "soc", "rule"]])),
    planFigure(schedule, fleet, capacity, now.time),
    quiet("Battery: positive charges. Grid: positive imports. Band: the plants' 80 % bands added up. Cost has wear and the value of stored energy in it."),
    table("The plan by interval", ["Time", `Price [${priceUnit()}]|`, "Load [kW]|", "Sun, wind [kW]|", "Battery [kW]|", "Grid [kW]|", "SOC [%]|", "Cost|", "Sum|", "Why"], rows, held),
  ];
}

function startText(run) {
  const states = run.made_from?.states ?? [];
  if (!states.length) return [];
  const told = states.map((state) => `${state.battery_id ?? state.device_id} ${state.soc == null ? energy(state.energy_kwh) : share(state.soc)} (${state.kind}${state.age_min == null ? "" : `, ${age(60 * state.age_min)} old`})`);
  return [quiet(`It starts from ${told.join("; ")}.`)];
}

function changesPart(changes) {
  if (!changes.length) return [quiet("It does what the plan before did, as far as both reach.")];
  const local = (text) => text.replace(/\d{4}-\d\d-\d\dT\d\d:\d\dZ/g, (time) => clock(time));
  return [h("details", {}, h("summary", {}, `${changes.length} ${changes.length === 1 ? "interval differs" : "intervals differ"} from the plan before`),
    h("ul", {}, changes.map((text) => h("li", {}, local(text)))))];
}

function planFigure(schedule, fleet, capacity, now) {
  const first = schedule[0].time, last = end(schedule, schedule.length - 1);
  const value = (row, name) => (name in row ? row[name] : fleet.get(row.time)[name]) ?? 0;
  const stacked = (parts, sign) => {
    const base = schedule.map(() => 0);
    return parts.map(([name, , tint]) => ({ kind: "bars", tint: `--${tint}`, points: schedule.map((row, i) => {
      const from = base[i]; base[i] += sign * value(row, name); return [row.time, end(schedule, i), from, base[i]]; }) }));
  };
  const most = Math.max(...schedule.map((row) => SUPPLY.reduce((sum, [name]) => sum + value(row, name), 0)));
  const panels = [
    { height: 220, unit: most >= 10000 ? "MW" : "kW", divisor: most >= 10000 ? 1000 : 1, series: [...stacked(SUPPLY, 1), ...stacked(DEMAND, -1)] },
    { height: 90, unit: priceUnit(), series: [{ kind: "steps", tint: "--price", points: schedule.map((row, i) => [row.time, end(schedule, i), row.import_price_eur_per_mwh]) }] },
  ];
  if (capacity) panels.push({ height: 80, unit: "State of charge [%]", low: 0, high: 100, series: [{ kind: "line", tint: "--soc", points: schedule.map((row, i) => [end(schedule, i), 100 * fleet.get(row.time).energy_kwh / capacity]) }] });
  return figure("Where power comes from and goes to, the price, and the state of charge, by interval; the table below has the numbers", first, last, panels, schedule.map((row, i) => [row.time, end(schedule, i), row.reason ?? ""]), now);
}

export function forecastPart(found, now) {
  const { run, values, source, actual } = found, isPrice = source.kind === "market", column = isPrice ? "price_eur_per_mwh" : "power_kw";
  const tint = TINTS[source.kind], step = 60000 * source.step_min, until = (time) => new Date(new Date(time).getTime() + step).toISOString();
  const steps = values.map((row) => [row.valid_time, until(row.valid_time), row.value]);
  const banded = (low, high) => ({ kind: "band", tint: `--band-${tint}`, points: values.filter((row) => row[low] != null).map((row) => [row.valid_time, until(row.valid_time), row[low], row[high]]) });
  const seen = { kind: "steps", tint: "--ink", points: actual.map((row) => [row.time, until(row.time), row[column]]) };
  const most = Math.max(0, ...values.map((row) => Math.abs(row.q95 ?? row.value)), ...actual.map((row) => Math.abs(row[column])));
  const divisor = !isPrice && most >= 10000 ? 1000 : 1;
  const panel = { height: 170, unit: isPrice ? priceUnit() : divisor > 1 ? "MW" : "kW", divisor, series: [banded("q05", "q95"), banded("q10", "q90"), banded("q25", "q75"), { kind: "steps", tint: `--${tint === "load" ? "quiet" : tint}`, points: steps }, seen] };
  const first = actual[0]?.time ?? values[0]?.valid_time, last = values.length ? until(values.at(-1).valid_time) : until(first);
  const stand = run.role === "fallback" ? " A stand-in: no champion could be used." : "";
  const shown = values.length ? figure(`Forecast of ${source.name} with its bands, and what was measured`, first, last, [panel], [], now.time) : quiet("It is empty.");
  return h("div", {}, h("h3", {}, source.name), quiet(`${source.kind}, model ${run.model}, issued ${clock(run.issue_time)}.${stand}`), shown);
}
export const forecastKey = () => legend([["Measured", "ink", "rule"], ["Forecast, in its source's colour", "discharge", "rule"], ["50, 80 and 90 % of outcomes are expected in the bands", "band-load", ""]]);

export function historyPart(found) {
  const { total, rows, period } = found;
  const title = h("h3", {}, period === "year" ? String(found.date.slice(0, 4)) : period === "month" ? month(found.start) : period === "week" ? `Week from ${fullDay(found.start)}` : fullDay(found.start));
  if (!total) return [title, quiet("The ledger has nothing of this time. pipeline.py operate keeps it.")];
  const cards = [card("Cost", money(total.cost_eur), `without battery ${money(total.cost_no_battery_eur)}`, "plan"), card("Saved", money(total.saved_eur), "beside no battery"),
    card("Self-consumption", share(total.self_consumption), "of sun and wind is used here"), card("Self-sufficiency", share(total.self_sufficiency), "of the use is made here"),
    card("Cycles", fixed(total.cycles, 2), `${energy(total.discharge_kwh)} discharged`), card("Captured share", share(total.captured_share), "of what perfect foresight saves")];
  if (total.position_eur || total.deviation_eur) cards.push(card("Position", money(total.position_eur), `deviation from it ${money(total.deviation_eur)}`));
  const energies = [["Load", total.load_kwh + (total.device_kwh ?? 0)], ["Sun and wind", total.renewables_kwh], ["Curtailed", total.curtailed_kwh], ["Import", total.grid_import_kwh], ["Export", total.grid_export_kwh], ["Charged", total.charge_kwh], ["Discharged", total.discharge_kwh]];
  const list = h("dl", {}, energies.map(([name, kwh]) => [h("dt", {}, name), h("dd", {}, energy(kwh))]));
  const isDay = period === "day", hours = (row) => isDay ? row.step_min / 60 : 1, of = (row, name) => isDay ? row[`${name}_kw`] * hours(row) : row[`${name}_kwh`];
  const label = (row) => isDay ? hour(row.time) : period === "year" ? month(row.time) : day(row.time);
  const cells = rows.map((row) => [label(row), ...["load", "renewables", "grid_import", "grid_export", "charge", "discharge"].map((name) => fixed(of(row, name), 1)), fixed(row.cost_eur, 2), fixed(row.cost_no_battery_eur - row.cost_eur, 2)]);
  return [title, h("div", { class: "cards" }, cards), list,
    table("Energy and money by part of the period", [isDay ? "From" : "Period", "Load [kWh]|", "Sun, wind [kWh]|", "Import [kWh]|", "Export [kWh]|", "Charged [kWh]|", "Discharged [kWh]|", "Cost|", "Saved|"], cells)];
}

export function healthPart(now) {
  const { health } = now, found = [], whose = now.clock === "wall" ? "" : ", by the server's clock";
  found.push(health.healthy ? h("p", { class: "good" }, "All is well.") : h("ul", { class: "problems" }, health.problems.map((text) => h("li", { class: "bad" }, text))));
  if (health.alerts?.length)
    found.push(h("h3", {}, "Alerts"), table("Alerts", ["Rule", "Of", "Since", "What", "What to do"], health.alerts.map((row) => [row.rule, row.subject, clock(row.fired_at), row.message, row.what_to_do])));
  found.push(h("h3", {}, "Sources"), table("Sources", ["Source", "Kind", "Newest value|", "From", "Age", "State"], health.sources.map((row) =>
    [row.name === row.source_id ? row.name : `${row.name} (${row.source_id})`, row.kind, row.kind === "market" ? amount(row.price_eur_per_mwh, priceUnit()) : power(row.power_kw), clock(row.time), age(row.age_s), row.current ? "current" : h("span", { class: "bad" }, "not current")])));
  if (health.jobs.length)
    found.push(h("h3", {}, `Jobs${whose}`), table("Jobs", ["Job", "State", "Done well", "Next", "Error"], health.jobs.map((row) => [row.job, row.state, clock(row.ok_at), clock(row.next_at), row.last_error ?? "–"])));
  if (health.stream.length)
    found.push(h("h3", {}, `Stream${whose}`), table("Stream", ["Topic", "Waiting|", "Dead letters|", "Seen"], health.stream.map((row) => [row.topic, row.lag == null ? "–" : fixed(row.lag, 0), fixed(row.dead_letters, 0), clock(row.time)])));
  found.push(h("h3", {}, "Servers and plan"), h("dl", {}, h("dt", {}, "Database"), h("dd", {}, health.database), h("dt", {}, "Data until"), h("dd", {}, clock(health.data_end)),
    h("dt", {}, "Newest plan"), h("dd", {}, now.plan ? `made for ${clock(now.plan.issue_time)}, ${age(health.plan_age_s)} ago` : "–")));
  return found;
}
