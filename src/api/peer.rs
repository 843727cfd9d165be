//! Who is at the other end of a Unix socket, by what the kernel says of it.
//!
//! The credentials are those of the moment of connecting. Groups come from the name service by
//! uid, never from `/proc/PID`, which may by then belong to somebody else.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How long a uid's membership is believed.
const MEMBERSHIP_KEPT: Duration = Duration::from_secs(60);
/// And what the daemon's own user is called.
const OWN_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the name service may take; then what it said last counts.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// One of whom it has told nothing is asked for again after this.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// Questions to the name service at one time: those that hang must not take the threads that everybody needs.
const QUESTIONS_MAX: usize = 2;
/// What uid 0 is called, whoever is asked.
const ROOT: &str = "root";
/// Uids remembered at once.
const MEMBERSHIP_MAX: usize = 1024;

/// What a peer without a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing but learn that the daemon lives.
    None,
    Read,
    Operate,
    Admin,
}

/// The process that connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub uid: u32,
    /// The user's name, or the number where the name service knows none.
    pub name: Arc<str>,
    /// Absent when it is not visible from the daemon's pid namespace.
    pub pid: Option<i32>,
    pub level: Level,
}

/// Decides a peer's level.
#[derive(Debug, Clone)]
pub struct Gatekeeper {
    own_uid: u32,
    group: Option<Gid>,
    known: Arc<Mutex<HashMap<u32, Known>>>,
    questions: Arc<Semaphore>,
    /// The name service.
    service: fn(u32, u32) -> Names,
}

/// A user's name and all groups.
type Names = (String, Vec<Gid>);

/// What the name service says of a uid.
#[derive(Debug, Clone)]
struct Known {
    name: Arc<str>,
    groups: Arc<[Gid]>,
    /// It is asked again from then on.
    until: Instant,
}

/// The configured group does not exist.
#[derive(Debug, thiserror::Error)]
#[error("there is no group `{0}`")]
pub struct NoSuchGroup(pub String);

impl Gatekeeper {
    /// `group` names those who may operate the daemon beside its own user and root.
    ///
    /// # Errors
    /// [`NoSuchGroup`]
    pub fn new(group: Option<&str>) -> Result<Self, NoSuchGroup> {
        let group = group.map(find_group).transpose()?;
        Ok(Self::of(Uid::effective().as_raw(), group, name_and_groups))
    }

    fn of(own_uid: u32, group: Option<Gid>, service: fn(u32, u32) -> Names) -> Self {
        let questions = Arc::new(Semaphore::new(QUESTIONS_MAX));
        Self { own_uid, group, known: Arc::default(), questions, service }
    }

    /// The group's number, for the socket file.
    #[must_use]
    pub fn gid(&self) -> Option<u32> {
        self.group.map(Gid::as_raw)
    }

    /// Reads the credentials of `stream` and judges them.
    ///
    /// # Errors
    /// When the kernel does not tell them.
    pub async fn judge(&self, stream: &UnixStream) -> std::io::Result<Peer> {
        let credentials = stream.peer_cred()?;
        let (uid, gid) = (credentials.uid(), credentials.gid());
        // Nothing depends on what the name service has to say of root.
        let known =
            if uid == 0 { self.known_as(0, (ROOT.to_owned(), Vec::new())) } else { self.ask(uid, gid).await };
        let level = self.level(uid, gid, &known.groups);
        Ok(Peer { uid, name: known.name, pid: credentials.pid(), level })
    }

    fn level(&self, uid: u32, gid: u32, groups: &[Gid]) -> Level {
        if uid == 0 || uid == self.own_uid {
            return Level::Admin;
        }
        match self.group {
            Some(group) if gid == group.as_raw() || groups.contains(&group) => Level::Operate,
            Some(_) | None => Level::None,
        }
    }

    async fn ask(&self, uid: u32, gid: u32) -> Known {
        let last = self.remembered().get(&uid).cloned();
        if let Some(last) = &last
            && Instant::now() < last.until
        {
            return last.clone();
        }
        let asked = tokio::time::timeout(ANSWER_MAX, self.question(uid, gid)).await;
        if let Ok(Some(known)) = asked {
            return known;
        }
        tracing::warn!(uid, "the name service does not answer; what it said last counts");
        // Should it answer yet, that is remembered. Who would be taken for a stranger until then has it asked sooner.
        let is_stranger = last.is_none() && uid != self.own_uid;
        let kept = if is_stranger { ASK_AGAIN } else { MEMBERSHIP_KEPT };
        let last = last.unwrap_or_else(|| self.known_as(uid, (uid.to_string(), Vec::new())));
        let known = Known { until: Instant::now() + kept, ..last };
        self.remember(uid, known.clone());
        known
    }

    /// Asks the name service, and remembers what it says however late that comes.
    async fn question(&self, uid: u32, gid: u32) -> Option<Known> {
        let turn = Arc::clone(&self.questions).acquire_owned().await.ok()?;
        let this = self.clone();
        // It may ask a network: never on a thread that serves others.
        let answer = tokio::task::spawn_blocking(move || {
            let known = this.known_as(uid, (this.service)(uid, gid));
            this.remember(uid, known.clone());
            drop(turn);
            known
        });
        answer.await.ok()
    }

    fn known_as(&self, uid: u32, (name, groups): Names) -> Known {
        // Of one who may do everything only the name is asked for, and a number is none.
        let is_done = uid == self.own_uid && name != uid.to_string();
        let kept = if is_done { OWN_KEPT } else { MEMBERSHIP_KEPT };
        Known { name: name.into(), groups: groups.into(), until: Instant::now() + kept }
    }

    fn remember(&self, uid: u32, known: Known) {
        let mut remembered = self.remembered();
        if remembered.len() >= MEMBERSHIP_MAX {
            remembered.clear();
        }
        remembered.insert(uid, known);
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<u32, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn find_group(name: &str) -> Result<Gid, NoSuchGroup> {
    if let Ok(gid) = name.parse() {
        return Ok(Gid::from_raw(gid));
    }
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) | Err(_) => Err(NoSuchGroup(name.to_owned())),
    }
}

/// Name and all groups of `uid`; its number and none for one that the name service does not know.
fn name_and_groups(uid: u32, gid: u32) -> (String, Vec<Gid>) {
    let Ok(Some(user)) = User::from_uid(Uid::from_raw(uid)) else { return (uid.to_string(), Vec::new()) };
    let groups = match CString::new(user.name.as_str()) {
        Ok(name) => getgrouplist(&name, Gid::from_raw(gid)).unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    (user.name, groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: u32 = 54_321;

    fn keeper(own_uid: u32, group: Option<u32>) -> Gatekeeper {
        Gatekeeper::of(own_uid, group.map(Gid::from_raw), name_and_groups)
    }

    #[test]
    fn own_user_and_root_are_admin_strangers_nothing() {
        let keeper = keeper(1000, None);
        assert_eq!(keeper.level(0, 0, &[]), Level::Admin);
        assert_eq!(keeper.level(1000, 1000, &[]), Level::Admin);
        assert_eq!(keeper.level(STRANGER, 1000, &[Gid::from_raw(1000)]), Level::None);
    }

    #[test]
    fn the_group_may_operate_by_primary_group_or_by_membership() {
        let keeper = keeper(1000, Some(7));
        assert_eq!(keeper.level(STRANGER, 7, &[]), Level::Operate);
        assert_eq!(keeper.level(STRANGER, 8, &[Gid::from_raw(7)]), Level::Operate);
        assert_eq!(keeper.level(STRANGER, 8, &[Gid::from_raw(9)]), Level::None);
    }

    #[tokio::test]
    async fn the_name_service_is_asked_by_uid() {
        let known = keeper(1000, None).ask(0, 0).await;
        assert_eq!(&*known.name, "root");
        assert!(known.groups.contains(&Gid::from_raw(0)));
        let nobody = keeper(1000, None).ask(STRANGER, 8).await;
        assert_eq!((&*nobody.name, nobody.groups.len()), ("54321", 0));
    }

    #[tokio::test]
    async fn the_kernel_names_the_peer() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let peer = Gatekeeper::new(None).unwrap().judge(&ours).await.unwrap();
        assert_eq!(peer.uid, Uid::effective().as_raw());
        assert_eq!(peer.pid, Some(i32::try_from(std::process::id()).unwrap()));
        assert_eq!(peer.level, Level::Admin);
    }

    /// A name service that knows alice, and hangs once it has told so.
    fn hanging(uid: u32, _: u32) -> Names {
        static ASKED: Mutex<Vec<u32>> = Mutex::new(Vec::new());
        let known = |asked: &[u32]| asked.contains(&uid);
        let mut asked = ASKED.lock().unwrap();
        if known(&asked) || uid != STRANGER {
            drop(asked);
            std::thread::sleep(Duration::from_secs(12));
            return ("too late".to_owned(), Vec::new());
        }
        asked.push(uid);
        ("alice".to_owned(), vec![Gid::from_raw(7)])
    }

    #[test]
    fn a_name_service_that_hangs_is_waited_for_a_moment_and_its_last_word_counts() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let keeper = Gatekeeper::of(1000, Some(Gid::from_raw(7)), hanging);
            assert_eq!(&*keeper.ask(STRANGER, 8).await.name, "alice");
            keeper.remembered().get_mut(&STRANGER).unwrap().until = Instant::now();
            let begun = Instant::now();
            let (alice, own, other) =
                tokio::join!(keeper.ask(STRANGER, 8), keeper.ask(1000, 1000), keeper.ask(5, 5));
            assert!(begun.elapsed() < ANSWER_MAX + Duration::from_secs(4), "{:?}", begun.elapsed());
            assert_eq!((&*alice.name, &alice.groups[..]), ("alice", &[Gid::from_raw(7)][..]));
            assert_eq!((&*own.name, &*other.name), ("1000", "5"));
            assert_eq!(keeper.level(1000, 1000, &own.groups), Level::Admin);
            // Nobody waits again for some time, and no more than so many threads hang.
            let begun = Instant::now();
            for uid in [STRANGER, 1000, 5] {
                keeper.ask(uid, 8).await;
            }
            assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
            assert_eq!(keeper.questions.available_permits(), 0);
        });
        runtime.shutdown_background();
    }

    #[test]
    fn a_group_that_does_not_exist_is_an_error() {
        assert!(Gatekeeper::new(Some("no-such-group-here")).is_err());
        assert_eq!(Gatekeeper::new(Some("0")).unwrap().gid(), Some(0));
        assert_eq!(Gatekeeper::new(Some("root")).unwrap().gid(), Some(0));
    }
}
