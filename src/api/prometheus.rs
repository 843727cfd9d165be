//! The Prometheus text format, as far as lucid needs it.

use std::fmt::Write as _;

/// Media type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a family's samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Counter,
    Gauge,
}

/// Collects families in the order in which they are told.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// Begins a family; its samples follow.
    pub fn family(&mut self, name: &str, kind: Family, help: &str) {
        let kind = match kind {
            Family::Counter => "counter",
            Family::Gauge => "gauge",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// One sample with its labels. Whole numbers stand as such.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (n, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if n == 0 { '{' } else { ',' });
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    #[must_use]
    pub fn finish(self) -> String {
        self.0
    }
}

/// Milliseconds as seconds, the base unit.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a metric is exact to the millisecond for 285,000 years")]
pub fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_help_and_labels_are_written_and_escaped() {
        let mut text = Text::default();
        text.family("lucid_runs_total", Family::Counter, "Runs by \\ task\nand result");
        text.sample("lucid_runs_total", &[("task", "a\"b\\\n"), ("result", "ok")], 3.0);
        text.family("lucid_lag_seconds", Family::Gauge, "Lag");
        text.sample("lucid_lag_seconds", &[], seconds(1500));
        insta::assert_snapshot!(text.finish(), @r#"
        # HELP lucid_runs_total Runs by \\ task\nand result
        # TYPE lucid_runs_total counter
        lucid_runs_total{task="a\"b\\\n",result="ok"} 3
        # HELP lucid_lag_seconds Lag
        # TYPE lucid_lag_seconds gauge
        lucid_lag_seconds 1.5
        "#);
    }
}
