-- How grave what was muted was: what is graver breaks the mute.
ALTER TABLE mutes ADD COLUMN severity TEXT NOT NULL DEFAULT 'critical'
    CHECK (severity IN ('info', 'warning', 'critical'));
UPDATE mutes SET severity = coalesce(
    (SELECT severity FROM alerts WHERE alerts.fingerprint = mutes.fingerprint ORDER BY id DESC LIMIT 1),
    'critical');
