-- Issued forecasts of others: of a TSO or of a provider of prices or power. A source of the kind
-- forecast says in its parameters of which quantity, in which unit.
CREATE TABLE external_forecasts (
    source_id text NOT NULL, issue_time timestamptz NOT NULL, valid_time timestamptz NOT NULL,
    value double precision NOT NULL, sent_at timestamptz NOT NULL,
    PRIMARY KEY (source_id, issue_time, valid_time));
-- Values of plants, loads and markets that a newer message replaced. They were known from the time
-- of their own message until that of the newer one.
CREATE TABLE revisions (
    source_id text NOT NULL, time timestamptz NOT NULL, value double precision NOT NULL,
    known_from timestamptz NOT NULL, known_to timestamptz NOT NULL,
    PRIMARY KEY (source_id, time, known_from));
-- The file of a registered model runs code when it is loaded: it is loaded only where it is the one
-- that was registered.
CREATE TABLE model_digests (
    source_id text NOT NULL, version text NOT NULL, sha256 text NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (source_id, version));
-- What grows for ever is found by an index: a battery's last state that is not planned, the states
-- of a run (PostgreSQL 17 does not skip through their key), runs of some days, the newest run.
CREATE INDEX battery_states_done ON battery_states (battery_id, time) WHERE kind <> 'planned';
CREATE INDEX battery_states_by_run ON battery_states (run_id, time);
CREATE INDEX forecast_runs_by_issue ON forecast_runs (issue_time);
CREATE INDEX schedule_runs_by_issue ON schedule_runs (issue_time);
CREATE INDEX schedule_runs_by_kind ON schedule_runs (kind, created_at);
-- The messages of some hours: they come in the order of their time, so that this index is small.
CREATE INDEX renewables_sent ON renewables USING brin (sent_at);
CREATE INDEX load_sent ON load USING brin (sent_at);
CREATE INDEX market_prices_sent ON market_prices USING brin (sent_at);
CREATE INDEX weather_sent ON weather USING brin (sent_at);
CREATE INDEX weather_forecasts_sent ON weather_forecasts USING brin (sent_at);
CREATE INDEX external_forecasts_sent ON external_forecasts USING brin (sent_at);
