//! Git itself is killed, at whatever moment of a claim or a release: work is never lost, the slot comes back.

use super::*;
use crate::platform::process::sweep_cookie;

const ROUNDS: u64 = 24;
/// By which git calls in one worktree are known.
const COOKIE: &str = "LUCID_GIT_WORKTREE";

/// Whether `text` is in some rescue, or in a worktree that was set aside whole.
fn is_safe(world: &World, file: &str, text: &str) -> bool {
    let in_a_ref = world.rescues().iter().any(|name| {
        let shown = try_git(&world.repo(), &["show", &format!("{name}:{file}")]);
        shown.stdout == text.as_bytes()
    });
    let aside = fs::read_dir(world.path("slots/.aside")).into_iter().flatten();
    in_a_ref || aside.flatten().any(|dir| fs::read_to_string(dir.path().join(file)).is_ok_and(|t| t == text))
}

#[tokio::test(flavor = "multi_thread")]
async fn git_killed_at_any_moment_of_a_claim_and_a_release_loses_nothing() {
    let world = World::new(1).await;
    world.warm().await;
    let slot = world.slot(0);
    for round in 0..ROUNDS {
        let text = format!("work of round {round}\n");
        write(&slot, "src/file5.txt", &text);
        write(&slot, &format!("new-{round}"), &text);
        let (pools, holder) = (world.pools.clone(), Holder::Ticket(format!("K-{round}")));
        let claim = tokio::spawn(async move { pools.claim(holder, "main", LONG).await });
        let cookie = slot.display().to_string();
        let killer = tokio::task::spawn_blocking(move || {
            std::thread::sleep(Duration::from_millis(round * 4));
            sweep_cookie(COOKIE, &cookie, &[], Duration::from_millis(15))
        });
        let claimed = claim.await.unwrap();
        killer.await.unwrap();
        match claimed {
            Ok(leased) => {
                world.assert_clean(&leased.path);
                world.pools.release(leased.lease).await.unwrap();
            }
            Err(_) => drop(world.pools.tend_once().await),
        }
        let row = world.row(0).await;
        assert_eq!(row.state(), SlotState::Free, "round {round}: {:?}", row.note);
        world.assert_clean(&slot);
        assert!(is_safe(&world, "src/file5.txt", &text), "round {round}");
        assert!(is_safe(&world, &format!("new-{round}"), &text), "round {round}");
    }
}
