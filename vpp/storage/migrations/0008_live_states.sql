-- States that devices tell, and their words on set-points.
--
-- battery_states.sent_at: when the message of a measured state was sent; a newer one replaces an
-- older one of the same time, never the reverse. NULL of other states.
-- acknowledgements.plan_id: run_id of schedule_runs
-- valid_from: start of the set-point
-- status: a word of the device
-- received_at: when it came first
ALTER TABLE battery_states ADD COLUMN sent_at timestamptz;
CREATE TABLE acknowledgements (
    battery_id text NOT NULL, plan_id text NOT NULL, valid_from timestamptz NOT NULL,
    status text NOT NULL, received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (plan_id, battery_id, valid_from, status));
CREATE INDEX acknowledgements_by_battery ON acknowledgements (battery_id, received_at);
