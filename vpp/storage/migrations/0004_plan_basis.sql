-- A run keeps all that its plan's money depends on, so that it can be valued after config.ini has
-- changed.
--
-- schedule_runs.basis: null for a run made by an older version, else an object of version 1
-- (vpp/schedule/basis.py):
--   version                      1
--   step_min                     length of an interval [min]
--   time_zone                    IANA name; cycles are counted by its days
--   grid                         limits [kW] (null: none), fees [EUR/MWh], peak price [EUR/kW],
--                                peak interval [min]
--   optimization                 horizon [h], solver with its time limit [s] and gap,
--                                CO2 [kg/MWh] and its price [EUR/t]
--   batteries                    parameters, and state of charge and cycles of the day at the start
--   peak_so_far_kw               highest mean import of the month before the start [kW]
--   terminal_price_eur_per_mwh   worth at the bus of the energy left in the batteries at the end
--   source_ids                   the plants, loads and market that were planned for
ALTER TABLE schedule_runs ADD COLUMN basis jsonb;
-- The price without fees; import and export prices are with them.
ALTER TABLE schedules ADD COLUMN market_price_eur_per_mwh double precision;
