//! The states in which a slot has been found to disagree with git, and how each comes about.

use super::*;

/// What is to be found in the rescue: file and text.
pub type Expected = &'static [(&'static str, &'static str)];

pub struct Mess {
    pub name: &'static str,
    pub make: fn(&World, u32),
    /// Of the newest rescue of that slot.
    pub rescued: Expected,
    /// The slot is given out all the same; else another one is.
    pub rescue_needed: bool,
}

const fn mess(name: &'static str, make: fn(&World, u32), rescued: Expected) -> Mess {
    Mess { name, make, rescued, rescue_needed: !rescued.is_empty() }
}

fn folder(n: u32) -> String {
    format!("slots/main-{n}")
}

pub fn git(world: &World, n: u32, args: &[&str]) -> String {
    world.git(&folder(n), args)
}

/// A branch `side-N` off the base that changes a line, and the slot at another change of it.
pub fn conflict(world: &World, n: u32) {
    let slot = world.slot(n);
    git(world, n, &["checkout", "-q", "-b", &format!("side-{n}")]);
    write(&slot, "README", "theirs\n");
    git(world, n, &["commit", "-qam", "theirs"]);
    git(world, n, &["checkout", "-q", "-b", &format!("mine-{n}"), "HEAD~1"]);
    write(&slot, "README", "mine\n");
    git(world, n, &["commit", "-qam", "mine"]);
}

pub fn stops(world: &World, n: u32, args: &[&str]) {
    assert!(!try_git(&world.slot(n), args).status.success(), "{args:?} was to stop at a conflict");
}

const MINE: Expected = &[("src/file3.txt", "changed\n")];

pub fn change(world: &World, n: u32) {
    write(&world.slot(n), "src/file3.txt", "changed\n");
}

pub const MESSES: [Mess; 32] = [
    mess(
        "stale slot branch",
        |w, n| drop(git(w, n, &["checkout", "-q", "-b", &format!("slot{n}/old")])),
        &[],
    ),
    mess("changed files", change, MINE),
    mess(
        "untracked files",
        |w, n| write(&w.slot(n), "new/deep/file", "new\n"),
        &[("new/deep/file", "new\n")],
    ),
    mess(
        "staged and changed again",
        |w, n| {
            write(&w.slot(n), "README", "staged\n");
            git(w, n, &["add", "README"]);
            write(&w.slot(n), "README", "later\n");
        },
        &[("README", "later\n")],
    ),
    mess(
        "deleted files",
        |w, n| {
            fs::remove_dir_all(w.slot(n).join("src")).unwrap();
            change(w, n);
        },
        MINE,
    ),
    mess(
        "commits on no branch",
        |w, n| {
            change(w, n);
            git(w, n, &["commit", "-qam", "unpushed"]);
        },
        MINE,
    ),
    mess(
        "rebase",
        |w, n| {
            conflict(w, n);
            stops(w, n, &["rebase", &format!("side-{n}")]);
        },
        &[],
    ),
    mess(
        "rebase with autostash",
        |w, n| {
            conflict(w, n);
            change(w, n);
            stops(w, n, &["rebase", "--autostash", &format!("side-{n}")]);
        },
        &[],
    ),
    mess(
        "merge",
        |w, n| {
            conflict(w, n);
            stops(w, n, &["merge", &format!("side-{n}")]);
            change(w, n);
        },
        MINE,
    ),
    mess(
        "cherry-pick",
        |w, n| {
            conflict(w, n);
            stops(w, n, &["cherry-pick", &format!("side-{n}")]);
            change(w, n);
        },
        MINE,
    ),
    mess(
        "revert",
        |w, n| {
            conflict(w, n);
            write(&w.slot(n), "README", "mine again\n");
            git(w, n, &["commit", "-qam", "again"]);
            stops(w, n, &["revert", "HEAD~1"]);
            change(w, n);
        },
        MINE,
    ),
    mess(
        "am",
        |w, n| {
            conflict(w, n);
            let patch = git(w, n, &["format-patch", "-1", "--stdout", &format!("side-{n}")]);
            write(&w.path("patches"), &n.to_string(), &(patch + "\n"));
            stops(w, n, &["am", "-3", &w.path("patches").join(n.to_string()).display().to_string()]);
            change(w, n);
        },
        MINE,
    ),
    mess(
        "bisect",
        |w, n| {
            git(w, n, &["bisect", "start"]);
            git(w, n, &["bisect", "bad"]);
            change(w, n);
        },
        MINE,
    ),
    mess(
        "skip-worktree",
        |w, n| {
            change(w, n);
            git(w, n, &["update-index", "--skip-worktree", "src/file3.txt"]);
        },
        MINE,
    ),
    mess(
        "assume-unchanged",
        |w, n| {
            change(w, n);
            git(w, n, &["update-index", "--assume-unchanged", "src/file3.txt"]);
        },
        MINE,
    ),
    mess(
        "sparse checkout",
        |w, n| {
            git(w, n, &["sparse-checkout", "set", "--no-cone", "/src/file3.txt"]);
            change(w, n);
        },
        MINE,
    ),
    mess(
        "index.lock",
        |w, n| {
            change(w, n);
            fs::write(w.admin(n).join("index.lock"), "").unwrap();
        },
        MINE,
    ),
    mess(
        "HEAD.lock",
        |w, n| {
            change(w, n);
            fs::write(w.admin(n).join("HEAD.lock"), "").unwrap();
        },
        MINE,
    ),
    mess(
        "nested repository",
        |w, n| {
            let inner = w.slot(n).join("inner");
            write(&inner, "deep/work.txt", "inner work\n");
            git_in(&inner, &["init", "-q"]);
            git_in(&inner, &["add", "-A"]);
            git_in(&inner, &["commit", "-qm", "inner"]);
            write(&inner, "loose.txt", "loose\n");
        },
        &[("inner/deep/work.txt", "inner work\n"), ("inner/loose.txt", "loose\n")],
    ),
    mess(
        "nested repository without a commit",
        |w, n| {
            let inner = w.slot(n).join("inner");
            write(&inner, "work.txt", "inner work\n");
            git_in(&inner, &["init", "-q"]);
        },
        &[("inner/work.txt", "inner work\n")],
    ),
    mess(
        "orphan branch",
        |w, n| {
            git(w, n, &["checkout", "-q", "--orphan", &format!("orphan-{n}")]);
            change(w, n);
        },
        MINE,
    ),
    mess(
        "attributes that change line ends",
        |w, n| {
            write(&w.slot(n), ".gitattributes", "* text eol=crlf\n");
            git(w, n, &["add", "--renormalize", "."]);
            change(w, n);
        },
        &[(".gitattributes", "* text eol=crlf\n")],
    ),
    mess(
        "status that hides untracked files",
        |w, n| {
            git(w, n, &["config", "status.showUntrackedFiles", "no"]);
            write(&w.slot(n), "hidden", "hidden\n");
        },
        &[("hidden", "hidden\n")],
    ),
    mess(
        "its folder is gone, with commits on no branch",
        |w, n| {
            change(w, n);
            git(w, n, &["commit", "-qam", "unpushed"]);
            fs::remove_dir_all(w.slot(n)).unwrap();
        },
        MINE,
    ),
    mess(
        "its .git is gone",
        |w, n| {
            change(w, n);
            fs::remove_file(w.slot(n).join(".git")).unwrap();
        },
        MINE,
    ),
    mess(
        "its HEAD is garbage",
        |w, n| {
            change(w, n);
            fs::write(w.admin(n).join("HEAD"), "\0\0\0").unwrap();
        },
        MINE,
    ),
    mess(
        "its index is garbage",
        |w, n| {
            change(w, n);
            fs::write(w.admin(n).join("index"), "no index").unwrap();
        },
        MINE,
    ),
    mess(
        "its index is gone",
        |w, n| {
            change(w, n);
            fs::remove_file(w.admin(n).join("index")).unwrap();
        },
        MINE,
    ),
    mess(
        "a branch that another worktree has",
        |w, n| {
            git(w, n, &["checkout", "-q", "--ignore-other-worktrees", "main"]);
            change(w, n);
        },
        MINE,
    ),
    mess(
        "a folder in the place of a file",
        |w, n| {
            fs::remove_file(w.slot(n).join("README")).unwrap();
            write(&w.slot(n), "README/inside", "inside\n");
        },
        &[("README/inside", "inside\n")],
    ),
    mess("ignored leftovers", |w, n| write(&w.slot(n), "junk.log", "junk\n"), &[]),
    // The last, for it hinders whoever makes a mess after it.
    mess(
        "failing hooks",
        |w, n| {
            write(&w.repo(), ".git/hooks/post-checkout", "#!/bin/sh\nexit 1\n");
            let hook = w.repo().join(".git/hooks/post-checkout");
            fs::set_permissions(hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
            change(w, n);
        },
        MINE,
    ),
];
