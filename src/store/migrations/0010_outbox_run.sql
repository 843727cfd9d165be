-- Whose output a message carries: what was lost is to be read there.
ALTER TABLE outbox ADD COLUMN run INTEGER;
