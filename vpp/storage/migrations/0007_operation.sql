-- The plant in operation: what a person ordered, what each job did last, and whose clock runs.
--
-- overrides: the newest row of a battery counts, until its `until`; `auto` ends the one before
--   soc: charge or discharge to this state of charge; null: as far as the battery's bounds
--   until: null: until the next row of the battery
CREATE TABLE overrides (
    override_id bigserial PRIMARY KEY, battery_id text NOT NULL,
    override text NOT NULL CHECK (override IN ('auto', 'hold', 'charge', 'discharge', 'off')),
    soc double precision CHECK (soc BETWEEN 0 AND 1), until timestamptz, name text NOT NULL,
    reason text NOT NULL, made_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE INDEX overrides_by_battery ON overrides (battery_id, override_id);
-- jobs: of `pipeline.py operate`; started_at, ended_at, ok_at (end of the last run that did not
-- fail) and next_at are times of the wall clock, last_error is null after a run that did not fail
CREATE TABLE jobs (
    site_id text NOT NULL, job text NOT NULL,
    state text NOT NULL CHECK (state IN ('waiting', 'running', 'late', 'failed')),
    started_at timestamptz, ended_at timestamptz, ok_at timestamptz, last_error text,
    next_at timestamptz, PRIMARY KEY (site_id, job));
-- operations: who leads, and the plant's clock: at beat_at of the wall clock it showed clock_time,
-- and it runs `speed` times as fast (1 and clock_time = beat_at where the wall clock is the plant's)
CREATE TABLE operations (
    site_id text PRIMARY KEY, leader text NOT NULL, clock_time timestamptz NOT NULL,
    speed double precision NOT NULL, beat_at timestamptz NOT NULL);
-- made_from: null for a run of an older version, else an object
--   states       [{battery_id or device_id, kind, time, age_min, soc or energy_kwh}]: the state from
--                which each battery and device starts; kind measured, simulated, planned or initial
--   overrides    [{battery_id, override, soc, until, name, reason}] that were constraints
--   not_current  {source_id: why}
ALTER TABLE schedule_runs ADD COLUMN made_from jsonb;
