-- Frozen: a database that has this migration never sees a change in it. Change tables by a new file.
CREATE TABLE sources (
    source_id text PRIMARY KEY, kind text NOT NULL, name text NOT NULL, site_id text NOT NULL,
    capacity_kw double precision CHECK (capacity_kw > 0),
    step_min integer NOT NULL CHECK (step_min > 0),
    latitude double precision, longitude double precision, time_zone text NOT NULL, price_area text,
    parameters jsonb NOT NULL DEFAULT '{}', valid_from timestamptz NOT NULL DEFAULT now());
CREATE TABLE renewables (
    time timestamptz NOT NULL, source_id text NOT NULL, power_kw double precision NOT NULL,
    sent_at timestamptz NOT NULL, PRIMARY KEY (source_id, time));
CREATE TABLE load (
    time timestamptz NOT NULL, source_id text NOT NULL, power_kw double precision NOT NULL,
    sent_at timestamptz NOT NULL, PRIMARY KEY (source_id, time));
CREATE TABLE market_prices (
    time timestamptz NOT NULL, source_id text NOT NULL, price_eur_per_mwh double precision NOT NULL,
    available_at timestamptz NOT NULL, sent_at timestamptz NOT NULL, PRIMARY KEY (source_id, time));
CREATE TABLE weather (
    time timestamptz NOT NULL, source_id text NOT NULL, ghi double precision NOT NULL,
    dni double precision NOT NULL, dhi double precision NOT NULL, temp_air double precision NOT NULL,
    wind_speed double precision NOT NULL, sent_at timestamptz NOT NULL, PRIMARY KEY (source_id, time));
CREATE TABLE weather_forecasts (
    source_id text NOT NULL, issue_time timestamptz NOT NULL, valid_time timestamptz NOT NULL,
    ghi double precision NOT NULL, dni double precision NOT NULL, dhi double precision NOT NULL,
    temp_air double precision NOT NULL, wind_speed double precision NOT NULL,
    sent_at timestamptz NOT NULL, PRIMARY KEY (source_id, issue_time, valid_time));
CREATE TABLE forecast_runs (
    run_id text PRIMARY KEY, source_id text NOT NULL, model text NOT NULL, model_version text,
    trained_until timestamptz, issue_time timestamptz NOT NULL,
    role text NOT NULL
        CHECK (role IN ('champion', 'fallback', 'candidate', 'backtest', 'manual')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE INDEX forecast_runs_by_source ON forecast_runs (source_id, issue_time, created_at);
CREATE TABLE forecasts (
    run_id text NOT NULL, valid_time timestamptz NOT NULL, value double precision NOT NULL,
    q05 double precision, q10 double precision, q25 double precision, q50 double precision,
    q75 double precision, q90 double precision, q95 double precision,
    PRIMARY KEY (run_id, valid_time));
CREATE TABLE batteries (
    battery_id text PRIMARY KEY, capacity_kwh double precision, charge_kw double precision,
    discharge_kw double precision, eta_charge double precision, eta_discharge double precision,
    soc_min double precision, soc_max double precision, soc_initial double precision,
    self_discharge_per_h double precision, wear_eur_per_mwh double precision,
    cycles_per_day_max double precision);
CREATE TABLE battery_states (
    battery_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('measured', 'simulated', 'planned')),
    run_id text NOT NULL DEFAULT '', time timestamptz NOT NULL, soc double precision NOT NULL,
    energy_kwh double precision, charge_kw double precision, discharge_kw double precision,
    PRIMARY KEY (battery_id, kind, run_id, time));
CREATE TABLE schedule_runs (
    run_id text PRIMARY KEY, site_id text NOT NULL, issue_time timestamptz NOT NULL,
    kind text NOT NULL, status text, certificate text, gap double precision,
    objective_eur double precision, cost_eur double precision,
    cost_no_battery_eur double precision, cost_rule_eur double precision,
    seconds double precision, input_hash text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE schedules (
    run_id text NOT NULL, time timestamptz NOT NULL, grid_import_kw double precision,
    grid_export_kw double precision, load_kw double precision, renewables_kw double precision,
    curtailed_kw double precision, import_price_eur_per_mwh double precision,
    export_price_eur_per_mwh double precision, stored_value_eur_per_mwh double precision,
    reason text, PRIMARY KEY (run_id, time));
