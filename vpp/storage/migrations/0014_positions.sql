-- positions: net purchase already made of a site, below 0 where it was sold; mean over
-- [time, time + step_min)
CREATE TABLE positions (
    site_id text NOT NULL, time timestamptz NOT NULL,
    step_min integer NOT NULL CHECK (step_min > 0), position_kw double precision NOT NULL,
    sent_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (site_id, time));
-- what position and deviation cost, and the price of the deviation; null without a position
ALTER TABLE ledger ADD COLUMN deviation_price_eur_per_mwh double precision,
    ADD COLUMN position_eur double precision, ADD COLUMN deviation_eur double precision;
