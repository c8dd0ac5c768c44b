-- What waits in Kafka and what was dead-lettered, as `communication.py status` saw it: for those
-- who see the database only.
CREATE TABLE stream_status (
    time timestamptz NOT NULL DEFAULT clock_timestamp(), topic text NOT NULL, lag bigint,
    dead_letters bigint NOT NULL, PRIMARY KEY (topic, time));
