//! How a slot is brought to its base: the order of steps that holds whatever state it is in.
//!
//! Blocks and knows no lease: the caller has it, has the slot's lock, and hands down the budget. Inspection
//! comes first, and a slot that is clean already is not touched.

use std::path::PathBuf;

use crate::platform::failpoint::{self, Fault};
use crate::platform::git::{Budget, Found, GitError, Keep, Repo, Rescue, State, Tree};

/// One slot and what it is to become.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub repo: Repo,
    /// Without symbolic links in its parents.
    pub path: PathBuf,
    /// Where it goes when it cannot be cleaned.
    pub aside: PathBuf,
    pub keep: Keep,
    /// The commit to stand at.
    pub base: String,
    /// Ref for what is rescued.
    pub rescue: String,
    /// Whom to name in the rescue's message.
    pub message: String,
    /// What keeps `git worktree prune` away.
    pub lock_reason: String,
}

/// What had to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// What was not as it should be, in words; empty when the slot was clean or new.
    pub dirt: Vec<String>,
    /// Refs that hold what was found.
    pub rescued: Vec<String>,
    /// Those of them that hold more than the commits of a branch.
    pub unsaved: Vec<String>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Why a slot is not at its base.
#[derive(Debug, thiserror::Error)]
pub(super) enum HealError {
    #[error(transparent)]
    Git(#[from] GitError),
    #[error("still {}", .0.join(", "))]
    Dirty(Vec<String>),
}

impl From<Fault> for HealError {
    fn from(fault: Fault) -> Self {
        Self::Git(fault.into())
    }
}

impl HealError {
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Git(error) if error.is_timeout())
    }

    /// Making it anew would need room that there is not; what lies there is better left.
    pub fn is_full_disk(&self) -> bool {
        const NO_SPACE: &str = "No space left on device";
        matches!(self, Self::Git(error) if error.to_string().contains(NO_SPACE))
    }

    /// What lies there is not the slot, and no second try will make it so.
    fn is_strange(&self) -> bool {
        matches!(self, Self::Git(GitError::NotOurs { .. }))
    }
}

/// How thoroughly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// What inspection calls for.
    Needed,
    /// Every step there is, with a new index.
    Full,
}

impl Site {
    /// Brings the slot to its base, in two tries.
    pub fn prepare(&self, report: &mut Report, budget: Budget) -> Result<Tree, HealError> {
        match self.attempt(Depth::Needed, report, budget) {
            Err(e) if e.is_timeout() || e.is_strange() => Err(e),
            Err(first) => self.attempt(Depth::Full, report, budget).inspect_err(|_| {
                report.notes.push(format!("first try: {first}"));
            }),
            Ok(tree) => Ok(tree),
        }
    }

    /// Sets whatever lies at the slot's place aside, as it is, and makes a new one.
    pub fn rebuild(&self, report: &mut Report, budget: Budget) -> Result<Tree, HealError> {
        match self.repo.find(&self.path)? {
            Found::Missing { admin } | Found::Strange { admin, .. } => {
                if let Some(admin) = admin {
                    let reference = self.repo.rescue_remains(&admin, &self.rescue(), budget)?;
                    self.note(reference, report, budget);
                }
            }
            Found::Ours(_) => {}
        }
        if self.path.symlink_metadata().is_ok() {
            failpoint::hit("rebuild.aside")?;
            let aside = self.repo.set_aside(&self.path, &self.aside)?;
            report.notes.push(format!("what lay there is at {}", aside.display()));
        }
        failpoint::hit("rebuild.add")?;
        let tree = self.repo.add(&self.path, &self.base, &self.lock_reason, budget)?;
        let state = tree.inspect(&self.keep, budget)?;
        self.verified(tree, &state)
    }

    fn attempt(&self, depth: Depth, report: &mut Report, budget: Budget) -> Result<Tree, HealError> {
        let tree = match self.repo.find(&self.path)? {
            Found::Ours(tree) => tree,
            Found::Missing { admin } => {
                if let Some(admin) = admin {
                    report.dirt.push("its folder was gone".to_owned());
                    let reference = self.repo.rescue_remains(&admin, &self.rescue(), budget)?;
                    self.note(reference, report, budget);
                }
                failpoint::hit("heal.add")?;
                self.repo.add(&self.path, &self.base, &self.lock_reason, budget)?
            }
            Found::Strange { why, .. } => {
                report.dirt.push(why.clone());
                return Err(GitError::NotOurs { path: self.path.clone(), why }.into());
            }
        };
        tree.mend_head(&self.base)?;
        let before = tree.inspect(&self.keep, budget)?;
        tree.lock(&self.lock_reason)?;
        if before.is_clean_at(&self.base) {
            return Ok(tree);
        }
        if report.dirt.is_empty() {
            report.dirt = drift(&before);
        }
        self.heal(&tree, &before, depth, report, budget)?;
        failpoint::hit("heal.verify")?;
        let after = tree.inspect(&self.keep, budget)?;
        self.verified(tree, &after)
    }

    fn note(&self, reference: Option<String>, report: &mut Report, budget: Budget) {
        let Some(reference) = reference else { return };
        // What git cannot tell is better told once too often.
        if !self.repo.is_on_a_branch(&reference, budget).unwrap_or(false) {
            report.unsaved.push(reference.clone());
        }
        report.rescued.push(reference);
    }

    /// The order is the point: nothing is destroyed before identity is established and work is rescued;
    /// what was begun is forgotten before HEAD is detached, or it would come back to its branch.
    fn heal(
        &self,
        tree: &Tree,
        state: &State,
        depth: Depth,
        report: &mut Report,
        budget: Budget,
    ) -> Result<(), HealError> {
        failpoint::hit("heal.identity")?;
        tree.assert_identity(budget)?;
        if !state.locks.is_empty() {
            tree.end_leftovers();
        }
        failpoint::hit("heal.rescue")?;
        let reference = tree.rescue(state, &self.keep, &self.rescue(), budget)?;
        self.note(reference, report, budget);
        if depth == Depth::Needed && !state.is_tangled() {
            failpoint::hit("heal.detach.simple")?;
            tree.detach(&self.base, budget)?;
            if state.changes.untracked > 0 || state.changes.ignored > 0 {
                failpoint::hit("heal.clean.simple")?;
                tree.clean(&self.keep, budget)?;
            }
            return self.write_anew(tree, state, budget);
        }
        failpoint::hit("heal.locks")?;
        tree.remove_locks()?;
        failpoint::hit("heal.operations")?;
        tree.forget_operations(budget)?;
        if state.is_sparse {
            lenient(tree.disable_sparse(budget), report)?;
        }
        if state.flagged > 0 || state.is_broken || depth == Depth::Full {
            failpoint::hit("heal.index")?;
            tree.remove_index()?;
        }
        if !state.changes.nested.is_empty() || depth == Depth::Full {
            failpoint::hit("heal.nested")?;
            lenient(tree.remove_submodules(budget), report)?;
        }
        failpoint::hit("heal.detach")?;
        tree.detach(&self.base, budget)?;
        failpoint::hit("heal.reset")?;
        tree.reset(&self.base, budget)?;
        failpoint::hit("heal.clean")?;
        tree.clean(&self.keep, budget)?;
        self.write_anew(tree, state, budget)?;
        failpoint::hit("heal.submodules")?;
        lenient(tree.update_submodules(budget), report)?;
        Ok(())
    }

    /// While strange attributes lay there, files were written by them: with other line ends, say, which git does not
    /// see until it happens to read them again.
    fn write_anew(&self, tree: &Tree, state: &State, budget: Budget) -> Result<(), HealError> {
        if state.changes.attributes {
            tree.remove_index()?;
            tree.reset(&self.base, budget)?;
        }
        Ok(())
    }

    fn verified(&self, tree: Tree, state: &State) -> Result<Tree, HealError> {
        if state.is_clean_at(&self.base) { Ok(tree) } else { Err(HealError::Dirty(drift(state))) }
    }

    fn rescue(&self) -> Rescue {
        Rescue { reference: self.rescue.clone(), base: self.base.clone(), message: self.message.clone() }
    }
}

/// What is not as in a slot that was just made, a base that has moved aside.
pub(super) fn drift(state: &State) -> Vec<String> {
    use crate::platform::git::Head;
    let mut drift = state.dirt();
    if let Head::Branch(branch) = &state.head {
        drift.insert(0, format!("on branch {branch}"));
    }
    drift
}

/// A step whose failure verification will judge.
fn lenient(step: Result<(), GitError>, report: &mut Report) -> Result<(), GitError> {
    match step {
        Err(e @ GitError::Failed { .. }) => {
            report.notes.push(e.to_string());
            Ok(())
        }
        other => other,
    }
}
