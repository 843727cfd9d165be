//! `lucid drain` and `lucid undrain`: whether the daemon starts anything new.

use super::context::{Context, api, run_reference};
use super::failure::{Exit, Failure};
use crate::api::wire;
use crate::platform::client::Request;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Drain,
    Undrain,
}

/// # Errors
/// As [`Context::fetch`].
pub fn run(context: &Context, wanted: Wanted) -> Result<Exit, Failure> {
    let verb = match wanted {
        Wanted::Drain => "drain",
        Wanted::Undrain => "undrain",
    };
    let drained = context.fetch::<wire::Drained>(&Request::post(api().segment(verb)))?;
    context.confirm(&drained, |drained, _| render(drained))
}

fn render(drained: &wire::Drained) -> String {
    if !drained.draining {
        return "what is due is started again\n".to_owned();
    }
    let runs: Vec<String> = drained.running.iter().map(|id| run_reference(*id)).collect();
    let live = if runs.is_empty() {
        "nothing runs".to_owned()
    } else {
        format!("still running: {}", runs.join(" "))
    };
    format!("nothing new is started; {live}. It ends with `lucid undrain`, or with the daemon.\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_still_runs_is_named() {
        let drained = |draining, running| wire::Drained {
            schema_version: wire::SchemaVersion::default(),
            draining,
            running,
        };
        let text = render(&drained(true, vec![7, 9]));
        assert_eq!(
            text,
            "nothing new is started; still running: #7 #9. It ends with `lucid undrain`, or with the daemon.\n"
        );
        assert!(render(&drained(true, vec![])).contains("nothing runs"));
        assert_eq!(render(&drained(false, vec![7])), "what is due is started again\n");
    }
}
