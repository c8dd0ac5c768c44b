-- Sites with grid connections of their own, and fleets of batteries behind them.
--
-- sites: as sites.csv states them; null: as the configuration says; a limit of Infinity is none
CREATE TABLE sites (
    site_id text PRIMARY KEY, name text, latitude double precision, longitude double precision,
    time_zone text, price_area text, import_limit_kw double precision CHECK (import_limit_kw >= 0),
    export_limit_kw double precision CHECK (export_limit_kw >= 0), tariff text,
    valid_from timestamptz NOT NULL DEFAULT clock_timestamp());
-- batteries.site_id: null where only a state or an older version told of the battery
-- batteries.imported: of batteries.csv; others stand in sections of the configuration
ALTER TABLE batteries ADD COLUMN site_id text,
    ADD COLUMN imported boolean NOT NULL DEFAULT false;
CREATE INDEX batteries_by_site ON batteries (site_id) WHERE imported;
-- What the imported batteries of a plan do together. The rows of each of them in battery_states are
-- kept for the newest plan of their site only.
CREATE TABLE fleet_states (
    run_id text NOT NULL, time timestamptz NOT NULL, batteries integer NOT NULL,
    energy_kwh double precision, charge_kw double precision, discharge_kw double precision,
    PRIMARY KEY (run_id, time));
CREATE INDEX schedule_runs_by_site ON schedule_runs (site_id, kind, created_at);
