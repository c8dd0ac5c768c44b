-- Capacities that a plant or load had before the one of its row in sources, and until when.
CREATE TABLE capacities (
    source_id text NOT NULL, valid_until timestamptz NOT NULL,
    capacity_kw double precision NOT NULL CHECK (capacity_kw > 0),
    PRIMARY KEY (source_id, valid_until));
