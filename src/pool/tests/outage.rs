//! The outage that this module exists for, fact by fact: three slots said to be free, two of them left on
//! the branches of their last tickets, and a claim that waited ten minutes under a limit of three.

use super::*;

const TICKETS: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn the_outage_cannot_happen_again() {
    let world = World::new(3).await;
    world.warm().await;
    // "slots said status=free, but the worktrees were still checked out on stale slot branches"
    for (n, ticket) in [(1, "OLD-34"), (2, "OLD-35")] {
        world.git(&format!("slots/main-{n}"), &["checkout", "-q", "-b", &format!("slot{n}/{ticket}")]);
    }
    // "M ..." in the tree, and empty stale lock files of a sweeper, ten days old.
    for n in 0..3 {
        write(&world.slot(n), ".sweeper.lock", "");
    }
    write(&world.slot(1), "src/file1.txt", "left over\n");
    write(&world.slot(2), "scratch/notes.md", "left over\n");
    assert_eq!(world.pools.free_slots("main").await.unwrap(), 3);

    // "found effectively 1 free slot for 5 tickets, and blocked": all three are given out, none waits.
    let mut placed = Vec::new();
    for n in 0..TICKETS {
        let begun = Instant::now();
        match world.pools.claim(Holder::Ticket(format!("NEW-{n}")), "main", Duration::from_secs(30)).await {
            Ok(leased) => placed.push(leased),
            Err(ClaimError::PoolFull { slots: 3, leased: 3, .. }) => {
                assert!(begun.elapsed() < Duration::from_secs(1), "a full pool answers at once");
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(placed.len(), 3, "what fits is placed, the rest is left for later");
    for leased in &placed {
        world.assert_clean(&leased.path);
    }
    // Nothing that lay there was lost on the way.
    let rescued = |n: u32, file: &str| {
        let name = world.rescues().into_iter().find(|name| name.contains(&format!("/main-{n}/"))).unwrap();
        world.show(&name, file)
    };
    assert_eq!(rescued(1, "src/file1.txt"), "left over");
    assert_eq!(rescued(2, "scratch/notes.md"), "left over");

    // "the release path not fully resetting git": whatever the worker leaves, release leaves the base.
    for (n, leased) in placed.iter().enumerate() {
        world.pools.branch(leased.lease, &format!("cr/NEW-{n}-work-1")).await.unwrap();
        write(&leased.path, "src/file2.txt", "scratch of a closed ticket\n");
        let Released::Cleaned { rescued } = world.pools.release(leased.lease).await.unwrap() else {
            panic!("not cleaned");
        };
        assert_eq!(world.show(&rescued[0], "src/file2.txt"), "scratch of a closed ticket");
        world.assert_clean(&leased.path);
        assert_eq!(world.row(u32::try_from(n).unwrap()).await.branch, None);
    }
    assert_eq!(world.git("repo", &["branch", "--list", "cr/*"]), "", "no slot branch is left");
    assert!(world.pools.view().await.unwrap()[0].slots.iter().all(|view| view.drift.is_empty()));
}

/// "killed mid-claim, which is what leaves the pool in the desynced state": the daemon dies in a claim, with
/// a half-reset worktree and git's lock in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_is_killed_costs_its_slot_nothing() {
    let mut world = World::new(1).await;
    world.warm().await;
    let leased = world.claim("MC-1").await;
    write(&leased.path, "README", "half reset\n");
    fs::write(world.admin(0).join("index.lock"), "").unwrap();
    world.interrupt(leased.lease, SlotState::Preparing, None).await;
    world.restart().await;
    world.pools.tend_once().await;
    let again = world.claim("MC-1").await;
    assert!(again.lease > leased.lease);
    world.assert_clean(&again.path);
}
