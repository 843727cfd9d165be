//! What comes over the network, and what is known of it afterwards.

use std::path::Path;

use super::{Budget, Call, GitError, Repo, line};

/// Git's answer for "no".
const NO: i32 = 1;
/// Git's answer for "that is no such thing".
const FATAL: i32 = 128;

impl Repo {
    /// Fetches a remote. Its URL may be a path, which is relative to where a person would call git.
    ///
    /// # Errors
    /// What git says; nothing is known of the remote then.
    pub fn fetch(&self, remote: &str, budget: Budget) -> Result<(), GitError> {
        let args = [
            "fetch",
            "--quiet",
            "--no-auto-maintenance",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            "--",
            remote,
        ];
        Call { cwd: self.top(), ..self.call() }.write(args, budget).map(drop)
    }

    /// The top of the working copy around the git directory; that itself where there is none.
    fn top(&self) -> &Path {
        match self.common.parent() {
            Some(top) if self.common.ends_with(".git") => top,
            Some(_) | None => &self.common,
        }
    }

    /// The commit of the remote-tracking branch `base`, as it was last fetched.
    ///
    /// # Errors
    /// [`GitError::NoSuchRef`].
    pub fn resolve(&self, base: &str, budget: Budget) -> Result<String, GitError> {
        let name = format!("refs/remotes/{base}");
        if let Ok(repo) = git2::Repository::open(&self.common)
            && let Ok(reference) = repo.find_reference(&name)
            && let Ok(commit) = reference.peel_to_commit()
        {
            return Ok(commit.id().to_string());
        }
        let out =
            self.call().read(["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")], budget);
        match out {
            Ok(out) => Ok(line(&out)),
            Err(GitError::Failed { .. }) => Err(GitError::NoSuchRef(name)),
            Err(e) => Err(e),
        }
    }

    /// Whether `commit` is `of` or one of its ancestors. A commit that the repository does not have is not.
    ///
    /// # Errors
    /// When git cannot tell.
    pub fn is_ancestor(&self, commit: &str, of: &str, budget: Budget) -> Result<bool, GitError> {
        let hexadecimal = (7..=64).contains(&commit.len()) && commit.bytes().all(|b| b.is_ascii_hexdigit());
        if !hexadecimal {
            return Ok(false);
        }
        let name = format!("{commit}^{{commit}}");
        if let Err(e) = self.call().read(["rev-parse", "--verify", "--quiet", &name], budget) {
            return if is_code(&e, &[NO, FATAL]) { Ok(false) } else { Err(e) };
        }
        match self.call().read(["merge-base", "--is-ancestor", commit, of], budget) {
            Ok(_) => Ok(true),
            Err(e) if is_code(&e, &[NO]) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Whether all of `commits` are in `base` or in some remote-tracking branch.
    ///
    /// # Errors
    /// When git cannot tell.
    pub(super) fn are_kept(&self, commits: &[&str], base: &str, budget: Budget) -> Result<bool, GitError> {
        let args = ["rev-list", "--max-count=1"].into_iter().chain(commits.iter().copied());
        let out = self.call().read(args.chain(["--not", "--remotes", base]), budget)?;
        Ok(out.is_empty())
    }

    /// Whether there is a branch `name` here, or a remote-tracking one of that name.
    ///
    /// # Errors
    /// What git says.
    pub fn has_branch(&self, name: &str, budget: Budget) -> Result<bool, GitError> {
        let (own, remote) = (format!("refs/heads/{name}"), format!("refs/remotes/*/{name}"));
        let args = ["for-each-ref", "--count=1", "--format=%(refname)", &own, &remote];
        Ok(!self.call().read(args, budget)?.is_empty())
    }

    /// Whether a branch here has all that `reference` has.
    ///
    /// # Errors
    /// What git says.
    pub fn is_on_a_branch(&self, reference: &str, budget: Budget) -> Result<bool, GitError> {
        let args = ["rev-list", "--max-count=1", reference, "--not", "--branches"];
        Ok(self.call().read(args, budget)?.is_empty())
    }

    /// Deletes the branch `name` if nothing is on it that is not in `base` or in a remote-tracking branch;
    /// says whether it is gone.
    ///
    /// # Errors
    /// What git says.
    pub fn delete_empty_branch(&self, name: &str, base: &str, budget: Budget) -> Result<bool, GitError> {
        let reference = format!("refs/heads/{name}");
        let tip = match self.call().read(["rev-parse", "--verify", "--quiet", &reference], budget) {
            Ok(out) => line(&out),
            Err(e) => return if is_code(&e, &[NO, FATAL]) { Ok(true) } else { Err(e) },
        };
        if !self.are_kept(&[&tip], base, budget)? {
            return Ok(false);
        }
        self.call().write(["update-ref", "-d", &reference, &tip], budget)?;
        Ok(true)
    }

    /// The commits of `tip` that are not in `base`, newest first, at most `limit`.
    ///
    /// # Errors
    /// What git says.
    pub fn commits(
        &self,
        tip: &str,
        base: &str,
        limit: usize,
        budget: Budget,
    ) -> Result<Vec<String>, GitError> {
        let out =
            self.call().read(["rev-list", &format!("--max-count={limit}"), tip, "--not", base], budget)?;
        Ok(String::from_utf8_lossy(&out).lines().map(str::to_owned).collect())
    }
}

fn is_code(error: &GitError, codes: &[i32]) -> bool {
    matches!(error, GitError::Failed { code: Some(code), .. } if codes.contains(code))
}
