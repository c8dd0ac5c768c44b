-- Whether a value is a price that was published when it was stored as a forecast. Until now readers
-- took a market price whose quantiles agree for one; here this is done for the last time.
ALTER TABLE forecasts ADD COLUMN published boolean NOT NULL DEFAULT false;
UPDATE forecasts SET published = true
    FROM forecast_runs JOIN sources USING (source_id)
    WHERE forecasts.run_id = forecast_runs.run_id AND sources.kind = 'market' AND q05 = q95;
