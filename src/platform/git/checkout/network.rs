//! What a working copy and its remote say to each other, and what stands in the commits between them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Checkout, Merged, fields, path_of};
use crate::platform::git::{Budget, GitError, line};

impl Checkout {
    /// Fetches a branch; its tip, or none where the remote does not have it.
    ///
    /// # Errors
    /// What git says; nothing is known of the remote then.
    pub fn fetch_branch(
        &self,
        remote: &str,
        branch: &str,
        ssh_key: Option<&Path>,
        budget: Budget,
    ) -> Result<Option<String>, GitError> {
        let tracking = format!("refs/remotes/{remote}/{branch}");
        let refspec = format!("+refs/heads/{branch}:{tracking}");
        let args = [
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-auto-maintenance",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            "--",
            remote,
            &refspec,
        ];
        match self.shared().write(with_key(ssh_key, &args), budget) {
            Ok(_) => {}
            Err(GitError::Failed { complaint, .. }) if complaint.contains("couldn't find remote ref") => {
                return Ok(None);
            }
            Err(e) => return Err(e),
        }
        let found = self.shared().read(["rev-parse", "--verify", "--quiet", &tracking], budget)?;
        Ok(Some(line(&found)))
    }

    /// Merges two histories without touching a file.
    ///
    /// # Errors
    /// What git says.
    pub fn merge(&self, ours: &str, theirs: &str, budget: Budget) -> Result<Merged, GitError> {
        let args = ["merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours, theirs];
        let done = self.shared().answer(args, 1, budget)?;
        let mut parts = fields(&done.stdout);
        let tree = parts.next().map(|id| String::from_utf8_lossy(id).into_owned()).unwrap_or_default();
        if done.code == Some(0) {
            return Ok(Merged::Tree(tree));
        }
        Ok(Merged::Conflict(parts.map(path_of).collect()))
    }

    /// Pushes a commit as a branch; never by force.
    ///
    /// # Errors
    /// What git says, a branch that has moved on among it.
    pub fn push(
        &self,
        remote: &str,
        commit: &str,
        branch: &str,
        ssh_key: Option<&Path>,
        budget: Budget,
    ) -> Result<(), GitError> {
        let refspec = format!("{commit}:refs/heads/{branch}");
        let args = ["push", "--quiet", "--no-follow-tags", "--recurse-submodules=no", "--", remote, &refspec];
        self.shared().write(with_key(ssh_key, &args), budget).map(drop)
    }

    /// The paths that commits of `tip` which `base` has not add or change, merges only where they differ from
    /// both sides.
    ///
    /// # Errors
    /// What git says.
    pub fn written(&self, tip: &str, base: Option<&str>, budget: Budget) -> Result<Vec<PathBuf>, GitError> {
        let args = ["log", "-z", "--format=", "--name-only", "--no-renames", "--diff-filter=d"];
        let args = args.into_iter().chain(["--diff-merges=combined", tip]).chain(beyond(base));
        let listed = self.shared().read(args, budget)?;
        let names = fields(&listed).map(|name| name.strip_prefix(b"\n").unwrap_or(name));
        Ok(names.filter(|name| !name.is_empty()).map(path_of).collect())
    }

    /// The same commits as patches, whose lines tell what was added.
    ///
    /// # Errors
    /// What git says; too much of it is an error as well.
    pub fn patches(&self, tip: &str, base: Option<&str>, budget: Budget) -> Result<Vec<u8>, GitError> {
        let args = ["log", "-p", "--format=", "--text", "--no-color", "--no-renames", "--no-ext-diff"];
        let args =
            args.into_iter().chain(["--no-textconv", "--diff-merges=combined", tip]).chain(beyond(base));
        self.shared().read(args, budget)
    }
}

fn beyond(base: Option<&str>) -> impl Iterator<Item = &str> {
    base.into_iter().flat_map(|base| ["--not", base])
}

/// Git gives this setting to a shell; whoever names the key has made sure of its letters.
fn with_key(ssh_key: Option<&Path>, args: &[&str]) -> Vec<OsString> {
    let mut all: Vec<OsString> = Vec::new();
    if let Some(key) = ssh_key {
        let mut setting = OsString::from("core.sshCommand=ssh -o BatchMode=yes -o IdentitiesOnly=yes -i ");
        setting.push(key);
        all.extend(["-c".into(), setting]);
    }
    all.extend(args.iter().map(OsString::from));
    all
}
