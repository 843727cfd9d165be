//! The next fires as `lucid next` shows them.

use jiff::{SignedDuration, Timestamp};

use super::{Context, Schedule, Zone};

/// One coming fire, in the words of its zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    pub at: Timestamp,
    /// RFC 3339 with the zone's offset.
    pub local: String,
    /// `Sun 28 Mar 2027 03:00 CEST`; seconds only where there are any.
    pub human: String,
    pub note: Option<String>,
}

/// The first `n` fires strictly after `from`.
#[must_use]
pub fn preview(
    schedule: &Schedule,
    zone: &Zone,
    anchor: Timestamp,
    from: Timestamp,
    n: usize,
) -> Vec<Preview> {
    let ctx = Context { zone: zone.clone(), anchor };
    schedule
        .fires_between(from, Timestamp::MAX, &ctx, n)
        .into_iter()
        .map(|fire| Preview::new(fire.at, zone, fire.note.map(|note| note.to_string())))
        .collect()
}

impl Preview {
    fn new(at: Timestamp, zone: &Zone, note: Option<String>) -> Self {
        let local = at.to_zoned(zone.tz().clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
        Self { at, local, human: human(at, zone), note }
    }

    /// The same fire, put off by `delay`; `None` beyond the end of time.
    #[must_use]
    pub fn delayed(self, delay: SignedDuration, zone: &Zone) -> Option<Self> {
        Some(Self::new(self.at.checked_add(delay).ok()?, zone, self.note))
    }
}

/// `Sun 28 Mar 2027 03:00 CEST`.
pub(super) fn human(at: Timestamp, zone: &Zone) -> String {
    let local = at.to_zoned(zone.tz().clone());
    let pattern = if local.second() == 0 { "%a %-d %b %Y %H:%M %Z" } else { "%a %-d %b %Y %H:%M:%S %Z" };
    local.strftime(pattern).to_string()
}
