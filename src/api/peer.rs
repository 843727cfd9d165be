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
use tokio::time::Instant;

/// How long a uid's membership is believed.
const MEMBERSHIP_KEPT: Duration = Duration::from_secs(60);
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
}

/// What the name service says of a uid.
#[derive(Debug, Clone)]
struct Known {
    name: Arc<str>,
    groups: Arc<[Gid]>,
    asked: Instant,
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
        Ok(Self { own_uid: Uid::effective().as_raw(), group, known: Arc::default() })
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
        let known = self.ask(uid, gid).await;
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
        if let Some(known) = self.remembered().get(&uid)
            && known.asked.elapsed() < MEMBERSHIP_KEPT
        {
            return known.clone();
        }
        // The name service may ask a network: never on a thread that serves others.
        let answer = tokio::task::spawn_blocking(move || name_and_groups(uid, gid)).await;
        let (name, groups) = answer.unwrap_or_else(|_| (uid.to_string(), Vec::new()));
        let known = Known { name: name.into(), groups: groups.into(), asked: Instant::now() };
        let mut remembered = self.remembered();
        if remembered.len() >= MEMBERSHIP_MAX {
            remembered.clear();
        }
        remembered.insert(uid, known.clone());
        known
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
        Gatekeeper { own_uid, group: group.map(Gid::from_raw), known: Arc::default() }
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

    #[test]
    fn a_group_that_does_not_exist_is_an_error() {
        assert!(Gatekeeper::new(Some("no-such-group-here")).is_err());
        assert_eq!(Gatekeeper::new(Some("0")).unwrap().gid(), Some(0));
        assert_eq!(Gatekeeper::new(Some("root")).unwrap().gid(), Some(0));
    }
}
