-- TimescaleDB with its Community licence compresses results as it does measurements.
ALTER TABLE external_forecasts SET (timescaledb.enable_columnstore,
    timescaledb.segmentby = 'source_id', timescaledb.orderby = 'valid_time DESC, issue_time DESC');
ALTER TABLE forecasts SET (timescaledb.enable_columnstore,
    timescaledb.segmentby = 'run_id', timescaledb.orderby = 'valid_time');
ALTER TABLE schedules SET (timescaledb.enable_columnstore,
    timescaledb.segmentby = 'run_id', timescaledb.orderby = 'time');
ALTER TABLE battery_states SET (timescaledb.enable_columnstore,
    timescaledb.segmentby = 'battery_id, kind, run_id', timescaledb.orderby = 'time');
