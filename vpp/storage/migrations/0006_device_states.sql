-- What flexible loads (vehicles, loads that run at another time, heat stores) do by a plan.
--
-- device_id: NAME of the section [vehicle:NAME], [deferrable:NAME] or [heat:NAME]
-- kind: vehicle, deferrable or heat
-- power_kw: mean electric power over the interval, below 0 where a vehicle gives
-- heat_pump_kw, rod_kw: parts of the power of a heat store; else null
-- soc, energy_kwh: at the end of the interval; null where a device stores nothing, or is away
CREATE TABLE device_states (
    run_id text NOT NULL, device_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('vehicle', 'deferrable', 'heat')),
    time timestamptz NOT NULL, power_kw double precision NOT NULL, heat_pump_kw double precision,
    rod_kw double precision, soc double precision, energy_kwh double precision, reason text,
    PRIMARY KEY (run_id, device_id, time));
CREATE INDEX device_states_by_device ON device_states (device_id, time);
