//! What slots start from: what the remote has now, or what is known of it where it cannot be read.

use super::*;

/// Has everything that is fetched from the origin go through a script first.
fn before_each_fetch(world: &World, script: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = world.path("upload-pack");
    fs::write(&path, format!("#!/bin/sh\n{script}\nexec git-upload-pack \"$@\"\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    world.git("repo", &["config", "remote.origin.uploadpack", path.to_str().unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_start_from_what_was_pushed_and_share_one_fetch() {
    let world = World::new(4).await;
    before_each_fetch(&world, &format!("echo fetch >> {}", world.path("fetches").display()));
    let next = world.push("next.txt", "next\n");
    assert_ne!(world.base(), next, "the clone does not know it yet");
    let claims = ["MC-1", "MC-2", "MC-3", "MC-4"].map(|ticket| world.claim(ticket));
    let [first, second, third, fourth] = claims;
    let leased = tokio::join!(first, second, third, fourth);
    for leased in [leased.0, leased.1, leased.2, leased.3] {
        assert_eq!((leased.base_commit, leased.notes), (next.clone(), Vec::<String>::new()));
    }
    let fetches = fs::read_to_string(world.path("fetches")).unwrap().lines().count();
    assert!((1..=2).contains(&fetches), "{fetches}: those that wait for one share it");
    let view = &world.pools.view().await.unwrap()[0];
    assert_eq!((view.base_commit.as_ref(), view.trouble.as_ref()), (Some(&next), None));
    assert!(view.fetched_ms.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_that_hangs_holds_a_claim_up_for_a_part_of_its_time() {
    let world = World::new(1).await;
    let known = world.base();
    before_each_fetch(&world, "sleep 20");
    world.push("next.txt", "next\n");
    let holder = Holder::Ticket("MC-1".to_owned());
    // Half of the budget would be more than is ever waited for a fetch.
    let begun = Instant::now();
    let leased = world.pools.claim(holder, "main", Duration::from_secs(60)).await.unwrap();
    assert_eq!(leased.base_commit, known);
    assert!(begun.elapsed() < Duration::from_secs(18), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_that_cannot_be_read_is_told_until_it_can() {
    let world = World::new(1).await;
    let known = world.base();
    world.push("next.txt", "next\n");
    assert_eq!(world.pools.behind(), Vec::new());
    fs::rename(world.path("origin.git"), world.path("away.git")).unwrap();
    let leased = world.claim("MC-1").await;
    assert_eq!(leased.base_commit, known, "work goes on");
    let behind = world.pools.behind();
    assert_eq!(behind.len(), 1);
    assert_eq!(behind[0].fix, format!("git -C {} fetch origin", world.repo().display()));
    assert!(behind[0].why.starts_with("its remote origin cannot be read, so slots start"), "{behind:?}");
    world.pools.release(leased.lease).await.unwrap();
    fs::rename(world.path("away.git"), world.path("origin.git")).unwrap();
    world.pools.heal("main", None).await.unwrap();
    assert_eq!(world.pools.behind(), Vec::new());
    assert!(world.pools.view().await.unwrap()[0].trouble.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_may_be_a_path_beside_the_repository() {
    let world = World::new(1).await;
    world.git("repo", &["remote", "set-url", "origin", "../origin.git"]);
    let next = world.push("next.txt", "next\n");
    assert!(world.pools.is_ancestor("main", &next).await.unwrap());
    assert_eq!(world.claim("MC-1").await.base_commit, next);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_is_gone_is_no_fault_of_its_remote() {
    let world = World::new(1).await;
    world.warm().await;
    fs::rename(world.repo(), world.path("gone")).unwrap();
    let refused = world.pools.claim(Holder::Ticket("MC-1".to_owned()), "main", LONG).await;
    let told = refused.unwrap_err().to_string();
    assert!(told.ends_with("is no git repository: there is no such folder"), "{told}");
    assert_eq!(world.pools.behind(), Vec::new());
    fs::rename(world.path("gone"), world.repo()).unwrap();
    assert_eq!(world.claim("MC-1").await.base_commit, world.base());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_may_start_from_another_base_and_leaves_the_slot_at_the_pools() {
    let world = World::new(1).await;
    let seed = world.path("seed");
    git_in(&seed, &["checkout", "-qb", "side"]);
    write(&seed, "side.txt", "side\n");
    git_in(&seed, &["add", "-A"]);
    git_in(&seed, &["commit", "-qm", "side"]);
    git_in(&seed, &["push", "-q", "../origin.git", "side"]);
    let side = git_in(&seed, &["rev-parse", "HEAD"]);
    let claim = async |base| {
        let holder = Holder::Run(crate::model::ids::RunId(8));
        world.pools.claim_at(holder, "main", Some(base), LONG).await
    };
    let leased = claim("origin/side").await.unwrap();
    assert_eq!(leased.base_commit, side, "pushed a moment ago");
    assert_eq!(read(&leased.path, "side.txt"), "side\n");
    world.pools.branch(leased.lease, "work").await.unwrap();
    git_in(&leased.path, &["commit", "-q", "--allow-empty", "-m", "work"]);
    assert_eq!(world.pools.run_commits(leased.lease).await.unwrap().len(), 1, "side's own are not the run's");
    world.pools.release(leased.lease).await.unwrap();
    world.assert_clean(&leased.path);

    let refused = claim("origin/sidee").await.unwrap_err().to_string();
    let fix = format!("`git -C {} branch --remotes` lists what there is", world.repo().display());
    assert!(refused.contains("no slot can start from origin/sidee") && refused.ends_with(&fix), "{refused}");
    assert_eq!(world.pools.free_slots("main").await.unwrap(), 1);
    assert!(world.pools.behind().is_empty(), "the pool's own remote is well");
}
