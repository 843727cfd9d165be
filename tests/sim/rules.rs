//! What files are read by.

use std::time::Duration;

use lucid::model::schedule::Zone;
use lucid::task::{Defaults, Known, Rules};

pub fn rules() -> Rules {
    Rules {
        defaults: Defaults {
            timeout: Duration::from_secs(600),
            agent_timeout: Duration::from_secs(3600),
            kill_grace: Duration::from_secs(10),
            catch_up_window: Duration::from_secs(6 * 3600),
            log_max_bytes: 10_000_000,
            keep_runs: 200,
            keep_for: Duration::from_secs(90 * 86_400),
            shell: "/bin/sh".to_owned(),
            zone: Zone::parse("UTC").expect("a zone"),
        },
        now: None,
        known: Known::default(),
    }
}
