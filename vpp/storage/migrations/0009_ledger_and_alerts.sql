-- Per interval what was planned, what was done and what it cost. A row never changes: a corrected
-- value makes a row of the next version, and the newest version counts.
--
-- done: measured (by states of all batteries), simulated (by states that carry the plan forward),
--   plan (its powers carried out on actual values, where there is no state), none (there was no plan)
-- plan_id: schedule_runs.run_id of the plan in force; null where there was none
-- load_kw, renewables_kw, device_kw: actual means; device_kw is that of flexible loads as planned
-- soc: of all batteries together at the end of the interval
-- import_no_battery_kw: import of the same site without batteries, which its peak charge follows
-- batteries: {battery_id: {"soc", "charge_kw", "discharge_kw"}} of what was done
-- planned_*: of the plan in force, at its forecasts and prices; null without one
-- energy_eur: energy with fees and CO2 at the tariff of the plan in force; wear_eur: of batteries
-- peak_eur: by which the interval raises the month's peak charge
-- cost_eur: the sum of these three; cost_no_battery_eur: the same sum without batteries
-- position_kw: net purchase already made; null where imports and exports settle by themselves
CREATE TABLE ledger (
    site_id text NOT NULL, time timestamptz NOT NULL, version integer NOT NULL CHECK (version > 0),
    step_min integer NOT NULL CHECK (step_min > 0), plan_id text,
    done text NOT NULL CHECK (done IN ('measured', 'simulated', 'plan', 'none')),
    load_kw double precision NOT NULL, renewables_kw double precision NOT NULL,
    device_kw double precision NOT NULL, curtailed_kw double precision NOT NULL,
    charge_kw double precision NOT NULL, discharge_kw double precision NOT NULL,
    grid_import_kw double precision NOT NULL, grid_export_kw double precision NOT NULL,
    import_no_battery_kw double precision NOT NULL, soc double precision, batteries jsonb NOT NULL DEFAULT '{}',
    import_price_eur_per_mwh double precision NOT NULL,
    export_price_eur_per_mwh double precision NOT NULL, position_kw double precision,
    planned_charge_kw double precision, planned_discharge_kw double precision,
    planned_import_kw double precision, planned_export_kw double precision,
    planned_cost_eur double precision,
    energy_eur double precision NOT NULL, wear_eur double precision NOT NULL,
    peak_eur double precision NOT NULL, cost_eur double precision NOT NULL,
    cost_no_battery_eur double precision NOT NULL, currency text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (site_id, time, version));
-- The worth of a MWh more at the site in each interval, which the reason of a schedule speaks of.
ALTER TABLE schedules ADD COLUMN bus_price_eur_per_mwh double precision;
-- A rule that found something: from fired_at until resolved_at. Of a rule and a subject one alert
-- is open at a time.
CREATE TABLE alerts (
    alert_id bigserial PRIMARY KEY, rule text NOT NULL, subject text NOT NULL,
    fired_at timestamptz NOT NULL, resolved_at timestamptz, value double precision,
    message text NOT NULL, what_to_do text NOT NULL);
CREATE UNIQUE INDEX alerts_open ON alerts (rule, subject) WHERE resolved_at IS NULL;
CREATE INDEX alerts_by_time ON alerts (fired_at);
-- What goes out of an alert, once a channel: it is tried again until sent_at is set.
CREATE TABLE alert_messages (
    alert_id bigint NOT NULL, event text NOT NULL CHECK (event IN ('fired', 'resolved')),
    channel text NOT NULL, attempts integer NOT NULL DEFAULT 0, next_at timestamptz NOT NULL,
    sent_at timestamptz, error text, PRIMARY KEY (alert_id, event, channel));
