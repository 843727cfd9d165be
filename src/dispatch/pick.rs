//! Who goes where: open tickets × free slots × profile limits × cool-downs, by priority and age. Pure.
//!
//! What fits goes; for everything else there is the reason. Nothing waits for anything here.

use std::collections::BTreeMap;

use crate::model::ids::TicketId;
use crate::model::worker::Standing;

/// A ticket that could be worked on; the most urgent first, then the oldest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub ticket: TicketId,
    pub agent: Option<String>,
    pub pool: Option<String>,
    /// Whom it is assigned to, where that is a person who is to do it.
    pub person: Option<String>,
    /// It was tried and is to rest until then, with what its last end was called.
    pub not_before: Option<(i64, String)>,
}

/// A profile and what it does now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    pub standing: Standing,
    pub busy: u32,
    pub max_parallel: u32,
    pub fallback: Vec<String>,
}

/// What a pool can give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Room {
    Free(u32),
    /// It cannot be used, and why.
    Closed(String),
}

/// Where a ticket goes that names no profile or pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usual {
    pub agent: Option<String>,
    pub pool: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub ticket: TicketId,
    pub agent: String,
    pub pool: String,
}

/// Why a ticket waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// For programs.
    pub code: &'static str,
    pub text: String,
    /// When it may be otherwise by time alone, milliseconds since the epoch.
    pub until_ms: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picked {
    pub go: Vec<Assignment>,
    pub wait: Vec<(TicketId, Why)>,
}

impl Picked {
    /// The first moment at which time alone lets something go.
    #[must_use]
    pub fn next_ms(&self) -> Option<i64> {
        self.wait.iter().filter_map(|(_, why)| why.until_ms).min()
    }
}

/// Places what fits.
#[must_use]
pub fn pick(
    candidates: &[Candidate],
    profiles: &BTreeMap<String, Profile>,
    pools: &BTreeMap<String, Room>,
    usual: &Usual,
    now_ms: i64,
) -> Picked {
    let (mut profiles, mut pools) = (profiles.clone(), pools.clone());
    let mut picked = Picked::default();
    for candidate in candidates {
        match place(candidate, &mut profiles, &mut pools, usual, now_ms) {
            Ok(assignment) => picked.go.push(assignment),
            Err(why) => picked.wait.push((candidate.ticket.clone(), why)),
        }
    }
    picked
}

fn place(
    candidate: &Candidate,
    profiles: &mut BTreeMap<String, Profile>,
    pools: &mut BTreeMap<String, Room>,
    usual: &Usual,
    now_ms: i64,
) -> Result<Assignment, Why> {
    if let Some(person) = &candidate.person {
        return Err(why("assigned", &format!("it is for {person} to do, a person")));
    }
    let pool = names(candidate, profiles, pools, usual)?;
    if let Some((until_ms, verdict)) = &candidate.not_before
        && *until_ms > now_ms
    {
        let text = format!("tried again in a moment: the last attempt ended as {verdict}");
        return Err(Why { code: "backoff", text, until_ms: Some(*until_ms) });
    }
    let agent = who(candidate.agent.as_ref().or(usual.agent.as_ref()), profiles)?;
    match pools.get_mut(pool) {
        None => Err(why("no_pool", &format!("there is no pool `{pool}`"))),
        Some(Room::Closed(reason)) => Err(why("pool_broken", &format!("pool {pool}: {reason}"))),
        Some(Room::Free(0)) => Err(why("pool_full", &format!("every slot of pool {pool} is in use"))),
        Some(Room::Free(free)) => {
            *free -= 1;
            if let Some(profile) = profiles.get_mut(&agent) {
                profile.busy += 1;
            }
            Ok(Assignment { ticket: candidate.ticket.clone(), agent, pool: pool.clone() })
        }
    }
}

/// The pool, where pool and profile exist: that they do not is told before all that passes by itself.
fn names<'c>(
    candidate: &'c Candidate,
    profiles: &BTreeMap<String, Profile>,
    pools: &BTreeMap<String, Room>,
    usual: &'c Usual,
) -> Result<&'c String, Why> {
    let agent = match candidate.agent.as_ref().or(usual.agent.as_ref()) {
        None => Some("it names no agent and `dispatch.agent` is not set".to_owned()),
        Some(name) if !profiles.contains_key(name) => Some(format!("there is no agent profile `{name}`")),
        Some(_) => None,
    };
    let pool = match candidate.pool.as_ref().or(usual.pool.as_ref()) {
        None => Err("it names no pool and `dispatch.pool` is not set".to_owned()),
        Some(name) if !pools.contains_key(name) => Err(format!("there is no pool `{name}`")),
        Some(name) => Ok(name),
    };
    match (agent, pool) {
        (None, Ok(pool)) => Ok(pool),
        (None, Err(pool)) => Err(why("no_pool", &pool)),
        (Some(agent), Ok(_)) => Err(why("no_agent", &agent)),
        (Some(agent), Err(pool)) => Err(why("no_agent", &format!("{agent}; {pool}"))),
    }
}

/// The wanted profile, or the first of its fallbacks that does not rest. One that is merely busy is
/// waited for: that passes by itself.
fn who(wanted: Option<&String>, profiles: &BTreeMap<String, Profile>) -> Result<String, Why> {
    let wanted =
        wanted.ok_or_else(|| why("no_agent", "it names no agent and `dispatch.agent` is not set"))?;
    let first = profiles
        .get(wanted)
        .ok_or_else(|| why("no_agent", &format!("there is no agent profile `{wanted}`")))?;
    let mut resting = Vec::new();
    for name in std::iter::once(wanted).chain(&first.fallback) {
        let Some(profile) = profiles.get(name) else { continue };
        match rests(name, &profile.standing) {
            Some(reason) => resting.push(reason),
            None if profile.busy >= profile.max_parallel => {
                return Err(why("agent_busy", &format!("{name} already works on {} at once", profile.busy)));
            }
            None => return Ok(name.clone()),
        }
    }
    let until_ms = resting.iter().filter_map(|reason| reason.until_ms).min();
    let text = resting.iter().map(|reason| reason.text.as_str()).collect::<Vec<_>>().join("; ");
    let code = resting.first().map_or("no_agent", |reason| reason.code);
    Err(Why { code, text, until_ms })
}

fn rests(name: &str, standing: &Standing) -> Option<Why> {
    match standing {
        Standing::Ready => None,
        Standing::Cooled { until_ms, reason } => Some(Why {
            code: "agent_cooled",
            text: format!("{name} rests: {reason}"),
            until_ms: Some(*until_ms),
        }),
        Standing::Disabled { reason } => {
            Some(why("agent_disabled", &format!("{name} is disabled: {reason}")))
        }
        Standing::Missing { reason } => {
            Some(why("agent_missing", &format!("{name} cannot be started: {reason}")))
        }
    }
}

fn why(code: &'static str, text: &str) -> Why {
    Why { code, text: text.to_owned(), until_ms: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(n: i64) -> Candidate {
        let ticket = TicketId::new("MC", n).unwrap();
        Candidate { ticket, agent: None, pool: None, person: None, not_before: None }
    }

    fn profile(standing: Standing, busy: u32, fallback: &[&str]) -> Profile {
        Profile {
            standing,
            busy,
            max_parallel: 2,
            fallback: fallback.iter().map(|&name| name.into()).collect(),
        }
    }

    fn usual() -> Usual {
        Usual { agent: Some("a".into()), pool: Some("main".into()) }
    }

    fn told(picked: &Picked) -> String {
        let go = picked.go.iter().map(|go| format!("{} {}@{}", go.ticket, go.agent, go.pool));
        let wait = picked.wait.iter().map(|(ticket, why)| format!("{ticket} {}", why.code));
        go.chain(wait).collect::<Vec<_>>().join(", ")
    }

    fn run(candidates: &[Candidate], profiles: &[(&str, Profile)], free: u32) -> Picked {
        let profiles = profiles.iter().map(|(name, profile)| ((*name).to_owned(), profile.clone())).collect();
        pick(candidates, &profiles, &[("main".to_owned(), Room::Free(free))].into(), &usual(), 1_000)
    }

    #[test]
    fn what_fits_goes_in_order_and_the_rest_is_told_why() {
        let all = [ticket(3), ticket(1), ticket(2)];
        let ready = [("a", profile(Standing::Ready, 0, &[]))];
        assert_eq!(told(&run(&all, &ready, 9)), "MC-3 a@main, MC-1 a@main, MC-2 agent_busy");
        assert_eq!(told(&run(&all, &ready, 1)), "MC-3 a@main, MC-1 pool_full, MC-2 pool_full");
        assert_eq!(told(&run(&all[..1], &[], 1)), "MC-3 no_agent");
    }

    #[test]
    fn a_resting_profile_gives_way_and_a_busy_one_does_not() {
        let cooled = Standing::Cooled { until_ms: 5_000, reason: "limit".into() };
        let both = |first: Profile| [("a", first), ("b", profile(Standing::Ready, 0, &[]))];
        assert_eq!(told(&run(&[ticket(1)], &both(profile(cooled.clone(), 0, &["b"])), 1)), "MC-1 b@main");
        assert_eq!(
            told(&run(&[ticket(1)], &both(profile(Standing::Ready, 2, &["b"])), 1)),
            "MC-1 agent_busy"
        );
        let alone = run(&[ticket(1)], &both(profile(cooled, 0, &[])), 1);
        assert_eq!(told(&alone), "MC-1 agent_cooled");
        assert_eq!(alone.next_ms(), Some(5_000));
        let missing = Standing::Missing { reason: "not found".into() };
        assert_eq!(told(&run(&[ticket(1)], &[("a", profile(missing, 0, &[]))], 1)), "MC-1 agent_missing");
    }

    #[test]
    fn what_does_not_exist_is_told_before_what_passes_by_itself() {
        let resting = [("a", profile(Standing::Disabled { reason: "auth".into() }, 0, &[]))];
        let mut lost = ticket(1);
        lost.pool = Some("gone".into());
        lost.not_before = Some((9_000, "crash".into()));
        let picked = run(&[lost.clone()], &resting, 1);
        assert_eq!((told(&picked).as_str(), picked.next_ms()), ("MC-1 no_pool", None));
        lost.agent = Some("nobody".into());
        let picked = run(&[lost], &resting, 1);
        assert_eq!(picked.wait[0].1.text, "there is no agent profile `nobody`; there is no pool `gone`");
    }

    #[test]
    fn what_a_person_is_to_do_goes_to_no_agent() {
        let mut mine = ticket(1);
        mine.person = Some("owner".into());
        let picked = run(&[mine, ticket(2)], &[("a", profile(Standing::Ready, 0, &[]))], 1);
        assert_eq!(told(&picked), "MC-2 a@main, MC-1 assigned");
        assert_eq!(picked.next_ms(), None);
    }

    #[test]
    fn a_wait_holds_nobody_else_up() {
        let mut first = ticket(1);
        first.not_before = Some((9_000, "crash".into()));
        let mut other = ticket(2);
        other.pool = Some("gone".into());
        let picked = run(&[first, other, ticket(3)], &[("a", profile(Standing::Ready, 0, &[]))], 1);
        assert_eq!(told(&picked), "MC-3 a@main, MC-1 backoff, MC-2 no_pool");
        assert_eq!(picked.next_ms(), Some(9_000));
    }
}
