//! What is known of those who write to the bot: how many are not on the list, and whether anybody is heard.

use std::sync::{Mutex, PoisonError};

use super::App;
use super::problems::{Finding, Grave};

/// A stranger is told of for so long, milliseconds.
const STRANGER_SHOWN_MS: i64 = 24 * 3_600_000;

/// Since this daemon started. Nothing that a stranger writes is kept: they could fill the disk.
#[derive(Debug, Default)]
pub struct Phone(Mutex<Known>);

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Known {
    ignored: u64,
    /// When somebody was ignored last, and their number where Telegram told it.
    last: Option<(i64, Option<i64>)>,
    /// Since when nobody is heard, and why.
    deaf: Option<(i64, String)>,
}

impl Phone {
    fn with<T>(&self, work: impl FnOnce(&mut Known) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Somebody who is not on the list gets no answer.
    pub fn ignore(&self, person: Option<i64>, now_ms: i64) {
        self.with(|known| {
            known.ignored = known.ignored.saturating_add(1);
            known.last = Some((now_ms, person));
        });
    }

    /// How often somebody was ignored.
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.with(|known| known.ignored)
    }

    /// Nobody is heard. True when that is news.
    pub fn deaf(&self, why: &str, now_ms: i64) -> bool {
        self.with(|known| {
            let is_news = known.deaf.as_ref().is_none_or(|(_, old)| old != why);
            let since_ms = known.deaf.as_ref().map_or(now_ms, |(since, _)| *since);
            known.deaf = Some((since_ms, why.to_owned()));
            is_news
        })
    }

    /// Whoever is on the list is heard. True when that is news.
    pub fn hears(&self) -> bool {
        self.with(|known| known.deaf.take().is_some())
    }
}

impl App {
    /// What is wrong with the way from people.
    pub(super) fn unanswered(&self, findings: &mut Vec<Finding>) {
        let known = self.phone.with(|known| known.clone());
        findings.extend(of(&known, self.clock.wall_ms()));
    }
}

fn of(known: &Known, now_ms: i64) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some((since_ms, why)) = &known.deaf {
        findings.push(Finding {
            id: "telegram:deaf".into(),
            grave: Grave::Warning,
            subject: "telegram replies".into(),
            text: format!("buttons and replies are not heard: {why}"),
            since_ms: Some(*since_ms),
            fix: Some("lucid logs --daemon".into()),
        });
    }
    if let Some((at_ms, person)) = known.last.filter(|(at_ms, _)| now_ms - at_ms < STRANGER_SHOWN_MS) {
        let who = person.map_or_else(|| "in the name of a chat".to_owned(), |id| format!("from user {id}"));
        let text = match known.ignored {
            1 => format!("1 message or press of a stranger was ignored since the daemon started, {who}"),
            n => format!(
                "{n} messages or presses of strangers were ignored since the daemon started, the last {who}"
            ),
        };
        findings.push(Finding {
            id: "telegram:strangers".into(),
            grave: Grave::Info,
            subject: "telegram strangers".into(),
            text,
            since_ms: Some(at_ms),
            fix: Some("lucid config --effective | grep telegram".into()),
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_counted_and_told_for_a_day() {
        let phone = Phone::default();
        phone.ignore(Some(9), 1_000);
        phone.ignore(None, 2_000);
        assert_eq!(phone.ignored(), 2);
        let told = |now_ms| phone.with(|known| of(known, now_ms));
        assert_eq!(
            told(3_000)[0].text,
            "2 messages or presses of strangers were ignored since the daemon started, the last in the name of a chat"
        );
        assert!(told(2_000 + STRANGER_SHOWN_MS).is_empty());
    }

    #[test]
    fn what_is_wrong_is_news_once_and_its_beginning_stands() {
        let phone = Phone::default();
        assert!(phone.deaf("a", 10) && !phone.deaf("a", 20) && phone.deaf("b", 30));
        let told = phone.with(|known| of(known, 40));
        assert_eq!((told[0].since_ms, told[0].grave), (Some(10), Grave::Warning));
        assert!(phone.hears() && !phone.hears());
    }
}
