//! What is said about a notice, and what is left unsaid: pure, from how things stood to how they stand and what
//! follows. A flood becomes a handful of messages here.

use crate::model::alert::{Alert, AlertId, AlertState, Step};
use crate::model::notice::{Notice, NoticeKind, Part};
use crate::model::task::Severity;

/// Messages about new troubles that go singly within [`FOLD_WINDOW_MS`]; what follows is folded into one.
pub const FOLD_AFTER: u32 = 3;
pub const FOLD_WINDOW_MS: i64 = 2 * 60_000;
/// More changes of a subject than this within [`FLAP_WINDOW_MS`] are flapping.
pub const FLAP_CHANGES: u32 = 3;
/// Also the time from one message about flapping to the next.
pub const FLAP_WINDOW_MS: i64 = 3_600_000;
/// Good ends after which a flapping one is believed to be well.
const FLAP_GOODS: u32 = 2;

/// How things stood.
#[derive(Debug, Clone, Default)]
pub struct Before {
    /// The alert of the same fingerprint that is not over.
    pub open: Option<Alert>,
    /// Until when its fingerprint is muted.
    pub muted_until_ms: Option<i64>,
    /// Beginnings and ends of its subject within [`FLAP_WINDOW_MS`].
    pub changes: u32,
    /// The newest message about its flapping.
    pub flap_told_ms: Option<i64>,
    /// Messages about new troubles of this severity within [`FOLD_WINDOW_MS`].
    pub fresh: u32,
    /// The open fold of this severity that grew within [`FOLD_WINDOW_MS`].
    pub storm: Option<AlertId>,
    /// How grave the fold is that the open alert is in.
    pub fold: Option<Severity>,
    /// The box itself is sick in a way that explains failures of tasks, and people know.
    pub is_explained: bool,
}

/// Why nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// Worth reading some time, not worth a message.
    Info,
    Muted,
    Acked,
    Explained,
    Flapping,
}

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Say {
    Nothing(Silence),
    /// The message that there is changes its figures.
    Update,
    First,
    /// It still goes on.
    Again,
    Worse,
    Flapping,
    /// Folded into one that there is.
    Join(AlertId),
    /// The first to be folded: makes the one that others join.
    Fold,
}

/// A notice that something is wrong: the alert as it stands now, and what is said.
#[must_use]
pub fn raise(before: &Before, notice: Notice, now_ms: i64) -> (Alert, Say) {
    let mut is_worse = false;
    let alert = match &before.open {
        None => Alert::begin(notice, now_ms, before.muted_until_ms),
        Some(open) => {
            let mut alert = open.clone();
            is_worse = notice.severity > alert.severity;
            if is_worse && before.muted_until_ms.is_some() {
                // What is muted was as grave before.
                alert.severity = notice.severity;
            } else if is_worse {
                alert.worsen(notice.severity);
            }
            // An open one can always happen again.
            if alert.step(Step::Repeat, now_ms).is_ok() {
                alert.notice = notice;
            }
            alert
        }
    };
    let say = word(before, &alert, Worse(is_worse), now_ms);
    (alert, say)
}

/// What is to be said now of an open alert that nothing was said of; `before` is how things stand around it.
#[must_use]
pub fn held(before: &Before, alert: &Alert, now_ms: i64) -> Say {
    word(before, alert, Worse(false), now_ms)
}

/// Whether this notice is graver than those before it.
#[derive(Clone, Copy)]
struct Worse(bool);

fn word(before: &Before, alert: &Alert, worse: Worse, now_ms: i64) -> Say {
    if alert.severity == Severity::Info {
        return Say::Nothing(Silence::Info);
    }
    match alert.state() {
        AlertState::Muted => return Say::Nothing(Silence::Muted),
        AlertState::Resolved => return Say::Nothing(Silence::Acked),
        AlertState::Acked if alert.told_ms.is_some() => return Say::Update,
        AlertState::Acked => return Say::Nothing(Silence::Acked),
        AlertState::Firing => {}
    }
    if let Some(told_ms) = alert.told_ms {
        return match () {
            () if worse.0 => Say::Worse,
            () if now_ms.saturating_sub(told_ms) >= alert.notice.repeat_ms => Say::Again,
            () => Say::Update,
        };
    }
    if let Some(storm) = alert.storm {
        // What is graver than those it was folded with is not one of them any more.
        let is_apart = worse.0 || before.fold.is_some_and(|fold| alert.severity > fold);
        return if is_apart { Say::Worse } else { Say::Join(storm) };
    }
    let is_critical = alert.severity == Severity::Critical;
    if before.is_explained && alert.notice.kind.is_of_task() && !is_critical {
        return Say::Nothing(Silence::Explained);
    }
    if before.changes > FLAP_CHANGES && alert.notice.kind.flaps() {
        let told_lately =
            before.flap_told_ms.is_some_and(|told| now_ms.saturating_sub(told) < FLAP_WINDOW_MS);
        return if told_lately { Say::Nothing(Silence::Flapping) } else { Say::Flapping };
    }
    match before.storm {
        _ if !alert.notice.kind.folds() => Say::First,
        Some(storm) => Say::Join(storm),
        None if before.fresh >= FOLD_AFTER => Say::Fold,
        None => Say::First,
    }
}

/// How an end is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tell {
    /// As an answer to the message of its beginning.
    Reply,
    /// By changing that message.
    Edit,
    /// Not at all.
    Never,
}

impl Tell {
    /// For all but the first of several that end together.
    #[must_use]
    pub fn at_most_edit(self) -> Self {
        match self {
            Self::Reply | Self::Edit => Self::Edit,
            Self::Never => Self::Never,
        }
    }
}

/// A notice that something is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Over {
    pub subject: String,
    /// Only these kinds of the subject; empty is all.
    pub kinds: Vec<NoticeKind>,
    pub ending: Vec<Part>,
    pub tell: Tell,
}

/// What is said about an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// It is not believed yet.
    NotYet,
    /// Nothing was said before, so nothing is now.
    Nothing,
    /// The message changes, no other is sent.
    Edit,
    /// The message changes and is answered.
    Reply,
    /// The fold that it was in counts it.
    Storm(AlertId),
}

/// An alert that ends: how it stands now, and what is said. `changes` and `flap_told_ms` as in [`Before`].
#[must_use]
pub fn clear(
    mut alert: Alert,
    over: &Over,
    changes: u32,
    flap_told_ms: Option<i64>,
    now_ms: i64,
) -> (Alert, Farewell) {
    let is_flapping = changes > FLAP_CHANGES && over.tell == Tell::Reply;
    alert.goods = alert.goods.saturating_add(1);
    // Only a task has a next good end: anything else is told of once, and would stay open for ever.
    if is_flapping && alert.notice.kind.is_of_task() && alert.goods < FLAP_GOODS {
        return (alert, Farewell::NotYet);
    }
    let was_muted = alert.state_at(now_ms) == AlertState::Muted;
    if alert.step(Step::Resolve, now_ms).is_err() {
        return (alert, Farewell::Nothing);
    }
    alert.ending.clone_from(&over.ending);
    let flap_lately = flap_told_ms.is_some_and(|told| now_ms.saturating_sub(told) < FLAP_WINDOW_MS);
    let farewell = match (alert.told_ms, alert.storm) {
        (None, Some(storm)) => Farewell::Storm(storm),
        (None, None) => Farewell::Nothing,
        (Some(_), _) => match over.tell {
            Tell::Never => Farewell::Nothing,
            Tell::Edit => Farewell::Edit,
            Tell::Reply if was_muted || (is_flapping && flap_lately) => Farewell::Edit,
            Tell::Reply => Farewell::Reply,
        },
    };
    (alert, farewell)
}

#[cfg(test)]
#[path = "dedupe_tests.rs"]
mod tests;
