-- Any other server: the hourly means are computed when they are read.
CREATE VIEW renewables_hourly
    AS SELECT source_id, date_bin('1 hour', time, '2000-01-01T00:00Z') AS time,
        avg(power_kw) AS power_kw
    FROM renewables GROUP BY 1, 2;
CREATE VIEW load_hourly
    AS SELECT source_id, date_bin('1 hour', time, '2000-01-01T00:00Z') AS time,
        avg(power_kw) AS power_kw
    FROM load GROUP BY 1, 2;
CREATE VIEW market_prices_hourly
    AS SELECT source_id, date_bin('1 hour', time, '2000-01-01T00:00Z') AS time,
        avg(price_eur_per_mwh) AS price_eur_per_mwh
    FROM market_prices GROUP BY 1, 2;
CREATE VIEW weather_hourly
    AS SELECT source_id, date_bin('1 hour', time, '2000-01-01T00:00Z') AS time,
        avg(ghi) AS ghi, avg(dni) AS dni, avg(dhi) AS dhi,
        avg(temp_air) AS temp_air, avg(wind_speed) AS wind_speed
    FROM weather GROUP BY 1, 2;
