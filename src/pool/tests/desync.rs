//! Every state in which a slot has been found to disagree with git, in every slot at once.

use super::*;

/// What is to be found in the rescue: file and text.
type Expected = &'static [(&'static str, &'static str)];

struct Mess {
    name: &'static str,
    make: fn(&World, u32),
    /// Of the newest rescue of that slot.
    rescued: Expected,
    /// The slot is given out all the same; else another one is.
    rescue_needed: bool,
}

const fn mess(name: &'static str, make: fn(&World, u32), rescued: Expected) -> Mess {
    Mess { name, make, rescued, rescue_needed: !rescued.is_empty() }
}

fn folder(n: u32) -> String {
    format!("slots/main-{n}")
}

fn git(world: &World, n: u32, args: &[&str]) -> String {
    world.git(&folder(n), args)
}

/// A branch `side-N` off the base that changes a line, and the slot at another change of it.
fn conflict(world: &World, n: u32) {
    let slot = world.slot(n);
    git(world, n, &["checkout", "-q", "-b", &format!("side-{n}")]);
    write(&slot, "README", "theirs\n");
    git(world, n, &["commit", "-qam", "theirs"]);
    git(world, n, &["checkout", "-q", "-b", &format!("mine-{n}"), "HEAD~1"]);
    write(&slot, "README", "mine\n");
    git(world, n, &["commit", "-qam", "mine"]);
}

fn stops(world: &World, n: u32, args: &[&str]) {
    assert!(!try_git(&world.slot(n), args).status.success(), "{args:?} was to stop at a conflict");
}

const MINE: Expected = &[("src/file3.txt", "changed\n")];

fn change(world: &World, n: u32) {
    write(&world.slot(n), "src/file3.txt", "changed\n");
}

const MESSES: [Mess; 32] = [
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

#[tokio::test(flavor = "multi_thread")]
async fn every_desync_in_every_slot_at_once_is_healed_and_its_work_is_in_a_ref() {
    let count = u32::try_from(MESSES.len()).unwrap();
    let world = World::new(count).await;
    world.warm().await;
    for n in 0..count {
        // Caches live through whatever happens beside them.
        write(&world.slot(n), "target/cache", "cached\n");
    }
    let before = contents(&world.repo());
    for (n, mess) in (0..).zip(&MESSES) {
        (mess.make)(&world, n);
        assert!(world.slot(n).exists() == !mess.name.contains("folder is gone"));
    }
    // Locks of the whole repository are somebody else's: they are left alone.
    fs::write(world.repo().join(".git/index.lock"), "").unwrap();
    for (n, mess) in (0..).zip(&MESSES) {
        let begun = Instant::now();
        let leased = world.pools.claim(Holder::Ticket(format!("MC-{n}")), "main", LONG).await;
        let leased = leased.unwrap_or_else(|e| panic!("{}: {e}", mess.name));
        assert_eq!(leased.path, world.slot(n), "{}: slots are given out in order", mess.name);
        assert!(begun.elapsed() < LONG);
        world.assert_clean(&leased.path);
        let refs: Vec<String> =
            world.rescues().into_iter().filter(|name| name.contains(&format!("/main-{n}/none/"))).collect();
        // Where the first try was not enough, what it left is rescued as well.
        assert!(!mess.rescue_needed || !refs.is_empty(), "{}: {refs:?}", mess.name);
        for (file, text) in mess.rescued {
            assert_eq!(world.show(&refs[0], file), text.trim_end(), "{}: {file}", mess.name);
        }
        if !mess.name.contains("folder is gone") {
            assert_eq!(read(&leased.path, "target/cache"), "cached\n", "{}", mess.name);
        }
    }
    assert!(world.repo().join(".git/index.lock").exists());
    assert_eq!(contents(&world.repo()), before, "the repository's own working copy was touched");
    assert_eq!(world.events(EventKind::SlotQuarantined).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operation_alone_knows_is_rescued() {
    let world = World::new(2).await;
    world.warm().await;
    conflict(&world, 0);
    change(&world, 0);
    stops(&world, 0, &["rebase", "--autostash", "side-0"]);
    let stash = fs::read_to_string(world.admin(0).join("rebase-merge/autostash")).unwrap();
    write(&world.slot(1), "README", "staged only\n");
    git(&world, 1, &["add", "README"]);
    write(&world.slot(1), "README", "in the file\n");
    for ticket in ["A-1", "A-2"] {
        world.claim(ticket).await;
    }
    let refs = world.rescues();
    assert_eq!(refs.len(), 2);
    let log = world.git("repo", &["log", "--format=%H", &refs[0]]);
    assert!(log.contains(stash.trim()), "what was stashed away for the rebase");
    assert_eq!(world.show(stash.trim(), "src/file3.txt"), "changed");
    assert_eq!(world.show(&refs[1], "README"), "in the file");
    assert_eq!(world.show(&format!("{}^2", refs[1]), "README"), "staged only");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submodule_with_work_in_it_is_rescued_as_files_and_comes_back() {
    let world = World::new(1).await;
    git_in(&world.path("seed"), &["submodule", "--quiet", "add", "../origin.git", "sub"]);
    git_in(&world.path("seed"), &["config", "-f", ".gitmodules", "submodule.sub.ignore", "all"]);
    world.push("with-sub", "x\n");
    git_in(&world.repo(), &["config", "protocol.file.allow", "always"]);
    git_in(&world.repo(), &["fetch", "-q"]);
    world.warm().await;
    git(&world, 0, &["submodule", "--quiet", "update", "--init"]);
    write(&world.slot(0), "sub/README", "changed within\n");
    write(&world.slot(0), "sub/extra", "new within\n");
    let leased = world.claim("A-1").await;
    world.assert_clean(&leased.path);
    let refs = world.rescues();
    assert_eq!(refs.len(), 1, "{:?}", leased.notes);
    assert_eq!(world.show(&refs[0], "sub/README"), "changed within");
    assert_eq!(world.show(&refs[0], "sub/extra"), "new within");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_reset_leaves_nothing_that_a_claim_cannot_mend() {
    let world = World::new(1).await;
    for n in 0..3000 {
        write(&world.path("seed"), &format!("many/f{n}"), &n.to_string());
    }
    let many = world.push("more", "x\n");
    world.pools.base("main").await.unwrap();
    world.warm().await;
    let mut locked = 0;
    for round in 0..8u64 {
        let mut reset = Command::new("git")
            .args(["reset", "-q", "--hard", if round % 2 == 0 { "HEAD~1" } else { &many }])
            .current_dir(world.slot(0))
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(2 + 4 * round));
        let _ = reset.kill();
        reset.wait().unwrap();
        locked += u32::from(world.admin(0).join("index.lock").exists());
        let leased = world.claim(&format!("K-{round}")).await;
        world.assert_clean(&leased.path);
        world.pools.release(leased.lease).await.unwrap();
    }
    assert!(locked > 0, "no kill came in the middle");
}
