-- TimescaleDB with its Community licence: hourly means that it keeps, and compression of
-- what the stream stores.
CREATE MATERIALIZED VIEW renewables_hourly
    WITH (timescaledb.continuous, timescaledb.materialized_only = false)
    AS SELECT source_id, time_bucket('1 hour', time) AS time,
        avg(power_kw) AS power_kw
    FROM renewables GROUP BY 1, 2 WITH NO DATA;
CREATE MATERIALIZED VIEW load_hourly
    WITH (timescaledb.continuous, timescaledb.materialized_only = false)
    AS SELECT source_id, time_bucket('1 hour', time) AS time,
        avg(power_kw) AS power_kw
    FROM load GROUP BY 1, 2 WITH NO DATA;
CREATE MATERIALIZED VIEW market_prices_hourly
    WITH (timescaledb.continuous, timescaledb.materialized_only = false)
    AS SELECT source_id, time_bucket('1 hour', time) AS time,
        avg(price_eur_per_mwh) AS price_eur_per_mwh
    FROM market_prices GROUP BY 1, 2 WITH NO DATA;
CREATE MATERIALIZED VIEW weather_hourly
    WITH (timescaledb.continuous, timescaledb.materialized_only = false)
    AS SELECT source_id, time_bucket('1 hour', time) AS time,
        avg(ghi) AS ghi, avg(dni) AS dni, avg(dhi) AS dhi,
        avg(temp_air) AS temp_air, avg(wind_speed) AS wind_speed
    FROM weather GROUP BY 1, 2 WITH NO DATA;
ALTER TABLE renewables SET (timescaledb.enable_columnstore,
    timescaledb.segmentby = 'source_id', timescaledb.orderby = 'time DESC');
ALTER TABLE load SET (timescaledb.enable_columnstore,
    timescaledb.segmentby = 'source_id', timescaledb.orderby = 'time DESC');
ALTER TABLE market_prices SET (timescaledb.enable_columnstore,
    timescaledb.segmentby = 'source_id', timescaledb.orderby = 'time DESC');
ALTER TABLE weather SET (timescaledb.enable_columnstore,
    timescaledb.segmentby = 'source_id', timescaledb.orderby = 'time DESC');
ALTER TABLE weather_forecasts SET (timescaledb.enable_columnstore,
    timescaledb.segmentby = 'source_id', timescaledb.orderby = 'valid_time DESC, issue_time DESC');
