SELECT create_hypertable('external_forecasts'::regclass,
    by_range('valid_time', '30 days'::interval), create_default_indexes => false);
