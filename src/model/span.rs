//! Lengths of time as people read them.

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A duration in milliseconds, to two units: `0.4s`, `4.2s`, `38s`, `1m12s`, `5m`, `14h30m`, `6d4h`.
#[must_use]
pub fn span(ms: i64) -> String {
    let two = |big: i64, big_name: &str, small: i64, small_name: &str| {
        if small == 0 { format!("{big}{big_name}") } else { format!("{big}{big_name}{small:02}{small_name}") }
    };
    if ms < 10 * SECOND_MS {
        let tenths = ms.max(0) / 100;
        if tenths % 10 == 0 && tenths > 0 {
            format!("{}s", tenths / 10)
        } else {
            format!("{}.{}s", tenths / 10, tenths % 10)
        }
    } else if ms < MINUTE_MS {
        format!("{}s", ms / SECOND_MS)
    } else if ms < HOUR_MS {
        two(ms / MINUTE_MS, "m", ms % MINUTE_MS / SECOND_MS, "s")
    } else if ms < DAY_MS {
        two(ms / HOUR_MS, "h", ms % HOUR_MS / MINUTE_MS, "m")
    } else {
        let hours = ms % DAY_MS / HOUR_MS;
        if hours == 0 { format!("{}d", ms / DAY_MS) } else { format!("{}d{hours}h", ms / DAY_MS) }
    }
}
