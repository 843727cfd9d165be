//! What is wrong outside the slots, or cannot be healed: nobody waits, nothing is lost, nothing else touched.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_git_file_never_leads_to_the_repository_around() {
    let world = World::new(1).await;
    world.warm().await;
    // The slots' folder becomes part of somebody's repository, and git forgets the slot.
    git_in(&world.path("slots"), &["init", "-q"]);
    write(&world.path("slots"), "precious", "precious\n");
    git_in(&world.path("slots"), &["add", "precious"]);
    git_in(&world.path("slots"), &["commit", "-qm", "around"]);
    write(&world.path("slots"), "precious", "and changed\n");
    write(&world.path("slots"), "loose", "untracked\n");
    let head = world.git("slots", &["rev-parse", "HEAD"]);
    fs::remove_dir_all(world.admin(0)).unwrap();
    fs::remove_file(world.slot(0).join(".git")).unwrap();
    write(&world.slot(0), "unsaved", "unsaved\n");
    let leased = world.claim("MC-1").await;
    world.assert_clean(&leased.path);
    assert_eq!(world.git("slots", &["rev-parse", "HEAD"]), head);
    assert_eq!(read(&world.path("slots"), "precious"), "and changed\n");
    assert_eq!(read(&world.path("slots"), "loose"), "untracked\n");
    // What could not be rescued is set aside whole.
    let aside = fs::read_dir(world.path("slots/.aside")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(read(&aside, "unsaved"), "unsaved\n");
    assert!(leased.notes.iter().any(|note| note.contains(".aside")), "{:?}", leased.notes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_a_link_is_replaced_and_its_target_left_alone() {
    let world = World::new(1).await;
    world.warm().await;
    write(&world.path("elsewhere"), "file", "not ours\n");
    let before = contents(&world.path("elsewhere"));
    fs::remove_dir_all(world.slot(0)).unwrap();
    std::os::unix::fs::symlink(world.path("elsewhere"), world.slot(0)).unwrap();
    let leased = world.claim("MC-1").await;
    world.assert_clean(&leased.path);
    assert!(!leased.path.is_symlink());
    assert_eq!(contents(&world.path("elsewhere")), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_became_a_repository_of_its_own_is_set_aside() {
    let world = World::new(1).await;
    world.warm().await;
    fs::remove_file(world.slot(0).join(".git")).unwrap();
    git_in(&world.slot(0), &["init", "-q"]);
    git_in(&world.slot(0), &["commit", "-q", "--allow-empty", "-m", "own"]);
    world.assert_clean(&world.claim("MC-1").await.path);
    let aside = fs::read_dir(world.path("slots/.aside")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(git_in(&aside, &["log", "--format=%s"]), "own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_points_at_another_one_is_not_that_one() {
    let world = World::new(2).await;
    world.warm().await;
    let other = world.claim("MC-1").await;
    write(&other.path, "README", "in work\n");
    fs::copy(other.path.join(".git"), world.slot(1).join(".git")).unwrap();
    let leased = world.claim("MC-2").await;
    assert_eq!(leased.slot, "main-1");
    world.assert_clean(&leased.path);
    assert_eq!(read(&other.path, "README"), "in work\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_cannot_be_reached_costs_nothing_but_news() {
    let world = World::new(1).await;
    let known = world.base();
    fs::rename(world.path("origin.git"), world.path("away.git")).unwrap();
    let base = world.pools.base("main").await.unwrap();
    assert_eq!(base.commit, known);
    assert!(base.stale.is_some());
    let leased = world.claim("MC-1").await;
    assert_eq!(leased.base_commit, known);
    assert!(leased.notes.iter().any(|note| note.contains("as last fetched")), "{:?}", leased.notes);
    assert!(world.pools.view().await.unwrap()[0].trouble.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_is_missing_is_fetched_and_if_there_is_none_said_so() {
    let world = World::new(2).await;
    world.git("repo", &["update-ref", "-d", "refs/remotes/origin/main"]);
    world.claim("MC-1").await;
    fs::rename(world.path("origin.git"), world.path("away.git")).unwrap();
    world.git("repo", &["update-ref", "-d", "refs/remotes/origin/main"]);
    let begun = Instant::now();
    let refused = world.pools.claim(Holder::Ticket("MC-2".to_owned()), "main", LONG).await;
    assert!(matches!(refused, Err(ClaimError::Git { .. })), "{refused:?}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(world.row(1).await.state(), SlotState::Free, "the slot is not to blame");
    let views = world.pools.view().await.unwrap();
    assert!(views[0].base_commit.is_none() && views[0].trouble.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_of_the_repository_is_waited_for_and_never_deleted() {
    let world = World::new(1).await;
    let lock = world.repo().join(".git/packed-refs.lock");
    let leased = world.claim("MC-1").await;
    world.pools.branch(leased.lease, "cr/MC-1-x-1").await.unwrap();
    world.git("repo", &["pack-refs", "--all"]);
    fs::write(&lock, "").unwrap();
    let (pools, lease) = (world.pools.clone(), leased.lease);
    let release = tokio::spawn(async move { pools.release(lease).await });
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(lock.exists());
    fs::remove_file(&lock).unwrap();
    assert_eq!(release.await.unwrap().unwrap(), Released::Cleaned { rescued: Vec::new() });
    assert_eq!(world.git("repo", &["branch", "--list", "cr/*"]), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_whose_process_lives_is_not_taken_from_it() {
    let world = World::new(2).await;
    world.warm().await;
    let lock = world.admin(0).join("index.lock");
    fs::write(&lock, "").unwrap();
    let mut there = Command::new("/bin/sleep").arg("60").current_dir(world.slot(0)).spawn().unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let leased = world.claim("MC-1").await;
    world.assert_clean(&leased.path);
    // Its tree was set aside with the lock and the process in it; the slot is a new one.
    let cwd = fs::read_link(format!("/proc/{}/cwd", there.id())).unwrap();
    assert!(cwd.starts_with(world.path("slots/.aside")), "{}", cwd.display());
    assert!(lock.exists() && there.try_wait().unwrap().is_none());
    there.kill().unwrap();
    there.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_neither_cleaned_nor_made_is_out_of_the_way_and_tried_again() {
    let world = World::new(2).await;
    world.warm().await;
    // Nothing can be moved to where things are set aside, and the slot is no folder.
    write(&world.path("slots"), ".aside", "in the way\n");
    fs::remove_dir_all(world.slot(0)).unwrap();
    write(&world.path("slots"), "main-0", "a file\n");
    let leased = world.claim("MC-1").await;
    assert_eq!(leased.slot, "main-1", "the next one is taken");
    assert_eq!(world.row(0).await.state(), SlotState::Quarantined);
    let quarantined = world.events(EventKind::SlotQuarantined).await;
    assert_eq!(quarantined.len(), 1);
    assert_eq!(quarantined[0].event.data["slot"], "main-0");
    let full = world.pools.claim(Holder::Ticket("MC-2".to_owned()), "main", LONG).await;
    assert!(
        matches!(full, Err(ClaimError::PoolFull { slots: 2, leased: 1, quarantined: 1, .. })),
        "{full:?}"
    );
    world.pools.tend_once().await;
    assert_eq!(world.events(EventKind::SlotQuarantined).await.len(), 1, "told once");
    assert_eq!(read(&world.path("slots"), "main-0"), "a file\n", "nothing is deleted");
    fs::remove_file(world.path("slots/.aside")).unwrap();
    world.pools.tend_once().await;
    assert_eq!(world.row(0).await.state(), SlotState::Free);
    assert_eq!(world.claim("MC-2").await.slot, "main-0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_is_spent_is_answered_and_the_slot_finished_later() {
    let world = World::new(1).await;
    world.warm().await;
    write(&world.slot(0), "README", "unsaved\n");
    let begun = Instant::now();
    let spent = world.pools.claim(Holder::Ticket("MC-1".to_owned()), "main", Duration::ZERO).await;
    assert!(matches!(spent, Err(ClaimError::TimedOut { .. })), "{spent:?}");
    assert!(begun.elapsed() < Duration::from_secs(2));
    let spent_ms = Clock::system().wall_ms();
    // When it was made, and now.
    for _ in 0..2 {
        tokio::time::timeout(LONG, world.pools.freed()).await.expect("whoever waits hears of it");
    }
    assert_eq!(world.row(0).await.state(), SlotState::Free);
    assert!(world.pools.freed_since("main", spent_ms).await.unwrap());
    assert!(!world.pools.freed_since("main", Clock::system().wall_ms()).await.unwrap());
    world.assert_clean(&world.slot(0));
    assert_eq!(world.show(&world.rescues()[0], "README"), "unsaved");
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_inside_the_repository_are_refused() {
    let mut world = World::new(1).await;
    world.config.dir = world.repo().join("slots");
    world.restart().await;
    let refused = world.pools.claim(Holder::Ticket("MC-1".to_owned()), "main", LONG).await;
    assert!(refused.unwrap_err().to_string().contains("inside the repository"));
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_shown_and_a_heal_mends_it() {
    let world = World::new(2).await;
    let fresh = world.pools.view().await.unwrap();
    assert!(fresh[0].slots.iter().all(|view| view.drift.is_empty() && view.head.is_none()));
    world.warm().await;
    world.git("slots/main-0", &["checkout", "-q", "-b", "slot0/old"]);
    write(&world.slot(0), "a", "x");
    write(&world.slot(0), "README", "x");
    let leased = world.pools.claim(Holder::Run(crate::model::ids::RunId(3)), "main", LONG).await.unwrap();
    world.pools.release(leased.lease).await.unwrap();
    write(&world.slot(1), "a", "x");
    world.git("slots/main-0", &["checkout", "-q", "-b", "slot0/older"]);
    let views = world.pools.view().await.unwrap();
    let [zero, one] = &views[0].slots[..] else { panic!("two slots") };
    assert_eq!((zero.branch.as_deref(), zero.dirty), (Some("slot0/older"), Some(0)));
    assert_eq!(zero.drift, ["on branch slot0/older"]);
    assert_eq!((one.dirty, &one.drift[..]), (Some(1), &["1 untracked".to_owned()][..]));
    let healed = world.pools.heal("main", None).await.unwrap();
    assert_eq!(healed.iter().map(|h| h.rescued.len()).collect::<Vec<_>>(), [0, 1]);
    assert!(world.pools.view().await.unwrap()[0].slots.iter().all(|view| view.drift.is_empty()));
    let missing = world.pools.heal("main", Some("main-9")).await;
    assert!(matches!(missing, Err(PoolError::NoSuchSlot(_))));
}
