//! Leases: whose a slot is, what release does, what a lease that is over can still do (nothing).

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_slot_is_handed_out_after_inspection_only() {
    let world = World::new(1).await;
    let first = world.claim("MC-1").await;
    assert_eq!((first.slot.as_str(), &first.path), ("main-0", &world.slot(0)));
    assert_eq!(first.base_commit, world.base());
    world.assert_clean(&first.path);
    world.pools.release(first.lease).await.unwrap();
    let index = world.admin(0).join("index");
    let touched = || fs::metadata(&index).unwrap().modified().unwrap();
    let before = touched();
    let second = world.claim("MC-2").await;
    assert!(second.lease > first.lease && second.fence > first.fence);
    assert_eq!(touched(), before, "the index was written");
    assert_eq!(second.notes, Vec::<String>::new());
    assert_eq!(world.events(EventKind::SlotHealed).await, []);
    let leased = world.events(EventKind::SlotLeased).await;
    assert_eq!(leased.iter().filter_map(|e| e.event.ticket.clone()).collect::<Vec<_>>(), ["MC-1", "MC-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn release_rescues_cleans_and_keeps_the_work_branch() {
    let world = World::new(1).await;
    let leased = world.claim("MC-7").await;
    world.pools.branch(leased.lease, "cr/MC-7-do-it-1").await.unwrap();
    write(&leased.path, "work.txt", "done\n");
    git_in(&leased.path, &["add", "-A"]);
    git_in(&leased.path, &["commit", "-qm", "work"]);
    let head = world.pools.head(leased.lease).await.unwrap();
    assert_eq!(world.pools.run_commits(leased.lease).await.unwrap(), std::slice::from_ref(&head));
    write(&leased.path, "unsaved.txt", "not committed\n");
    write(&leased.path, "target/cache", "cached\n");
    write(&leased.path, "node_modules/x/y.js", "cached\n");
    write(&leased.path, "out.log", "ignored\n");
    let Released::Cleaned { rescued } = world.pools.release(leased.lease).await.unwrap() else {
        panic!("not clean");
    };
    world.assert_clean(&leased.path);
    assert!(rescued[0].starts_with("refs/lucid/rescue/main-0/MC-7/"), "{rescued:?}");
    assert_eq!(world.show(&rescued[0], "unsaved.txt"), "not committed");
    assert_eq!(world.git("repo", &["rev-parse", &format!("{}^", rescued[0])]), head);
    assert_eq!(
        world.git("repo", &["rev-parse", "cr/MC-7-do-it-1"]),
        head,
        "the branch is for people to merge"
    );
    assert_eq!(read(&leased.path, "target/cache"), "cached\n");
    assert!(leased.path.join("node_modules/x/y.js").exists());
    assert!(!leased.path.join("out.log").exists());
    let released = world.events(EventKind::SlotReleased).await;
    assert_eq!(released[0].event.ticket.as_deref(), Some("MC-7"));
    assert_eq!(world.events(EventKind::SlotRescued).await[0].event.ticket.as_deref(), Some("MC-7"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_ticket_left_unsaved_is_told_once_for_each_release() {
    let world = World::new(1).await;
    let told: Arc<std::sync::Mutex<Vec<Rescued>>> = Arc::default();
    let list = Arc::clone(&told);
    world.pools.on_rescue(Arc::new(move |_, rescued, _| {
        list.lock().unwrap().push(rescued.clone());
        Ok(())
    }));
    for ticket in ["MC-7", "MC-8"] {
        let leased = world.claim(ticket).await;
        write(&leased.path, "a.txt", ticket);
        write(&leased.path, "b.txt", "unsaved\n");
        world.pools.release(leased.lease).await.unwrap();
    }
    // Commits on a branch are where the ticket says they are.
    let leased = world.claim("MC-10").await;
    world.pools.branch(leased.lease, "cr/MC-10-do-it-1").await.unwrap();
    git_in(&leased.path, &["commit", "-q", "--allow-empty", "-m", "work"]);
    world.pools.release(leased.lease).await.unwrap();
    let run = Holder::Run(crate::model::ids::RunId(8));
    let of_a_run = world.pools.claim(run, "main", LONG).await.unwrap();
    write(&of_a_run.path, "a.txt", "of a run\n");
    world.pools.release(of_a_run.lease).await.unwrap();
    // What somebody leaves in a free slot is not the work of whoever gets it.
    write(&of_a_run.path, "a.txt", "nobody's\n");
    world.claim("MC-9").await;
    let told = told.lock().unwrap().clone();
    let tickets: Vec<&str> = told.iter().map(|rescued| rescued.ticket.as_str()).collect();
    assert_eq!(tickets, ["MC-7", "MC-8"]);
    assert_eq!((told[1].slot.as_str(), &told[1].repo, told[1].refs.len()), ("main-0", &world.repo(), 1));
    assert_eq!(world.show(&told[1].refs[0], "a.txt"), "MC-8");
    assert_eq!(world.rescues().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_without_work_goes_with_its_lease() {
    let world = World::new(1).await;
    let leased = world.claim("MC-7").await;
    world.pools.branch(leased.lease, "cr/MC-7-nothing-1").await.unwrap();
    world.pools.release(leased.lease).await.unwrap();
    assert_eq!(world.git("repo", &["branch", "--list", "cr/*"]), "");
    assert_eq!(world.rescues(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_nobody_remembers_is_left_alone() {
    let world = World::new(1).await;
    let leased = world.claim("MC-7").await;
    let free = async || world.pools.free_branch(leased.lease, "cr/MC-7-do-it-1").await.unwrap();
    assert_eq!(free().await, "cr/MC-7-do-it-1");
    world.git("repo", &["branch", "cr/MC-7-do-it-1"]);
    world.git("repo", &["branch", "cr/MC-7-do-it-12"]);
    assert_eq!(free().await, "cr/MC-7-do-it-1-2");
    let head = world.base();
    world.git("repo", &["update-ref", "refs/remotes/origin/cr/MC-7-do-it-1-2", &head]);
    assert_eq!(free().await, "cr/MC-7-do-it-1-3");
    world.pools.branch(leased.lease, "cr/MC-7-do-it-1-3").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_over_changes_nothing() {
    let world = World::new(1).await;
    let old = world.claim("MC-1").await;
    world.pools.release(old.lease).await.unwrap();
    let new = world.claim("MC-2").await;
    write(&new.path, "README", "in work\n");
    assert_eq!(world.pools.release(old.lease).await.unwrap(), Released::Already);
    assert!(matches!(world.pools.branch(old.lease, "late").await, Err(PoolError::LeaseOver(_))));
    assert!(matches!(world.pools.head(old.lease).await, Err(PoolError::LeaseOver(_))));
    assert!(matches!(world.pools.run_commits(old.lease).await, Err(PoolError::LeaseOver(_))));
    assert!(matches!(world.pools.heal("main", Some("main-0")).await, Err(PoolError::Busy { .. })));
    assert_eq!(read(&new.path, "README"), "in work\n");
    assert_eq!(world.row(0).await.lease, Some(new.lease));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_slot_a_holder() {
    let world = World::new(2).await;
    let first = world.claim("MC-1").await;
    let again = world.pools.claim(Holder::Ticket("MC-1".to_owned()), "main", LONG).await;
    assert!(matches!(again, Err(ClaimError::AlreadyLeased { lease, .. }) if lease == first.lease));
    let run = Holder::Run(crate::model::ids::RunId(8));
    assert_eq!(world.pools.claim(run, "main", LONG).await.unwrap().slot, "main-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_outlive_the_daemon_and_what_it_had_begun_is_finished_by_the_next() {
    let mut world = World::new(3).await;
    world.warm().await;
    let held = world.claim("MC-1").await;
    write(&held.path, "README", "in work\n");
    let (claimed, released) = (world.claim("MC-2").await, world.claim("MC-3").await);
    write(&released.path, "README", "unsaved\n");
    // As if the daemon had been killed in the middle of a claim and of a release.
    world.interrupt(claimed.lease, SlotState::Preparing, None).await;
    world.interrupt(released.lease, SlotState::Releasing, Some("MC-3")).await;
    world.restart().await;
    assert_eq!(world.pools.free_slots("main").await.unwrap(), 0);
    world.pools.tend_once().await;
    assert_eq!(world.pools.free_slots("main").await.unwrap(), 2);
    world.assert_clean(&claimed.path);
    world.assert_clean(&released.path);
    assert!(world.rescues()[0].starts_with("refs/lucid/rescue/main-2/MC-3/"));
    assert_eq!(world.pools.leases().await.unwrap()[0].lease, Some(held.lease));
    assert_eq!(read(&held.path, "README"), "in work\n");
    assert_eq!(
        world.pools.release(held.lease).await.unwrap(),
        Released::Cleaned { rescued: vec![world.rescues()[0].clone()] }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_base_moves_with_a_fetch_and_decides_what_is_done() {
    let world = World::new(1).await;
    let next = world.push("next.txt", "next\n");
    assert_eq!(world.pools.base("main").await.unwrap(), Base { commit: next.clone(), stale: None });
    let leased = world.claim("MC-1").await;
    assert_eq!(leased.base_commit, next);
    assert_eq!(read(&leased.path, "next.txt"), "next\n");
    git_in(&leased.path, &["commit", "-q", "--allow-empty", "-m", "work"]);
    let commit = world.pools.head(leased.lease).await.unwrap();
    assert!(!world.pools.is_ancestor("main", &commit).await.unwrap());
    git_in(&leased.path, &["push", "-q", "origin", "HEAD:main"]);
    assert!(world.pools.is_ancestor("main", &commit).await.unwrap());
    for nonsense in ["", "HEAD", "--all", &"0".repeat(40), "zzzzzzz"] {
        assert!(!world.pools.is_ancestor("main", nonsense).await.unwrap(), "{nonsense}");
    }
    fs::rename(world.path("origin.git"), world.path("away.git")).unwrap();
    assert!(world.pools.is_ancestor("main", &commit).await.is_err(), "unreadable is not done");
}

/// The heartbeat looks for old locks in every slot, at its desk.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_meets_somebody_at_the_desk_is_finished_when_they_have_left() {
    let world = World::new(1).await;
    let leased = world.claim("MC-1").await;
    let desk = world.pools.try_desk(&leased.slot).unwrap();
    assert_eq!(world.pools.release(leased.lease).await.unwrap(), Released::Later);
    // The first try of those who finish it meets them as well.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.row(0).await.state(), SlotState::Releasing);
    drop(desk);
    let deadline = Instant::now() + Duration::from_secs(30);
    while world.row(0).await.state() != SlotState::Free {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.assert_clean(&leased.path);
}
