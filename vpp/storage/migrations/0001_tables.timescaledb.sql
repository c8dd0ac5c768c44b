-- Where TimescaleDB is there: chunks of 30 days.
SELECT create_hypertable('renewables'::regclass,
    by_range('time', '30 days'::interval), create_default_indexes => false);
SELECT create_hypertable('load'::regclass,
    by_range('time', '30 days'::interval), create_default_indexes => false);
SELECT create_hypertable('market_prices'::regclass,
    by_range('time', '30 days'::interval), create_default_indexes => false);
SELECT create_hypertable('weather'::regclass,
    by_range('time', '30 days'::interval), create_default_indexes => false);
SELECT create_hypertable('weather_forecasts'::regclass,
    by_range('valid_time', '30 days'::interval), create_default_indexes => false);
SELECT create_hypertable('forecasts'::regclass,
    by_range('valid_time', '30 days'::interval), create_default_indexes => false);
SELECT create_hypertable('battery_states'::regclass,
    by_range('time', '30 days'::interval), create_default_indexes => false);
SELECT create_hypertable('schedules'::regclass,
    by_range('time', '30 days'::interval), create_default_indexes => false);
