-- Messages that wait in Kafka or were dead-lettered, as `communication.py status` saw them: for
-- those who see the database only.
CREATE TABLE stream_status (
    time timestamptz NOT NULL DEFAULT clock_timestamp(), topic text NOT NULL, lag bigint,
    dead_letters bigint NOT NULL, PRIMARY KEY (topic, time));
