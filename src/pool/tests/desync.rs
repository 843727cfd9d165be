//! Every desync in every slot at once, and what only some of them know.

use super::messes::{MESSES, change, conflict, git, stops};
use super::*;

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
        assert_ne!(world.slot(n).exists(), mess.name.contains("folder is gone"));
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
        // By their bytes: git itself looks only at what has changed since it last did.
        assert_eq!(read(&leased.path, "src/file3.txt"), world.show(&world.base(), "src/file3.txt") + "\n");
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

/// Git tells by time and size whether a file may have changed: written again within one tick of the clock, to
/// the same length, it looks as it did when it was added.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_the_very_moment_of_its_staging_is_rescued() {
    let world = World::new(1).await;
    world.warm().await;
    for round in 0..10 {
        let (staged, later) = (format!("staged {round}\n"), format!("later! {round}\n"));
        write(&world.slot(0), "README", &staged);
        git(&world, 0, &["add", "README"]);
        write(&world.slot(0), "README", &later);
        let leased = world.claim(&format!("A-{round}")).await;
        world.pools.release(leased.lease).await.unwrap();
        let kept = world.rescues().iter().any(|name| world.show(name, "README") == later.trim_end());
        assert!(kept, "round {round}");
    }
}
