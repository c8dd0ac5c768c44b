-- registered_at: when the change came; null of those that earlier versions kept
ALTER TABLE capacities ADD COLUMN registered_at timestamptz;
-- former_capacity_kw: before the present one, where nobody has said yet since when that holds
ALTER TABLE sources ADD COLUMN former_capacity_kw double precision;
