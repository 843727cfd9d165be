//! When a task is due: a pure reading of cron, aliases, `every`, `at` and `in` over a time zone.
