-- Work that several commands or machines share. Whoever does a task holds its row locked in an open
-- transaction, which ends with its process: a worker that dies gives the task back.
CREATE TABLE claims (
    task text PRIMARY KEY, made_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    done_at timestamptz, worker text, result jsonb);
-- How far a task has come; its claim is locked meanwhile.
CREATE TABLE claim_steps (
    task text PRIMARY KEY, done integer NOT NULL, steps integer NOT NULL, worker text NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp());
