-- Why a forecast is not what it should be: a stand-in made it, or an input was too old.
ALTER TABLE forecast_runs ADD COLUMN note text NOT NULL DEFAULT '';
