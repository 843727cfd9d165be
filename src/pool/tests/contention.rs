//! Many claims on few slots.

use super::*;

const ROUNDS: u32 = 50;
const TICKETS: u32 = 20;
const SLOTS: u32 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn twenty_claims_on_three_slots_answer_at_once_and_three_are_placed() {
    let world = World::new(SLOTS).await;
    world.warm().await;
    for round in 0..ROUNDS {
        let begun = Instant::now();
        let claims: Vec<_> = (0..TICKETS)
            .map(|n| {
                let pools = world.pools.clone();
                let holder = Holder::Ticket(format!("R{round}-{n}"));
                tokio::spawn(async move { (pools.claim(holder, "main", LONG).await, begun.elapsed()) })
            })
            .collect();
        let mut placed = Vec::new();
        for claim in claims {
            match claim.await.unwrap() {
                (Ok(leased), _) => placed.push(leased),
                (Err(ClaimError::PoolFull { .. }), after) => {
                    assert!(after < Duration::from_secs(1), "{after:?}");
                }
                (Err(other), _) => panic!("{other}"),
            }
        }
        let slots: std::collections::BTreeSet<&str> =
            placed.iter().map(|leased| leased.slot.as_str()).collect();
        assert_eq!((placed.len(), slots.len()), (SLOTS as usize, SLOTS as usize), "round {round}");
        for leased in placed {
            if round % 10 == 0 {
                write(&leased.path, "README", "work\n");
            }
            world.pools.release(leased.lease).await.unwrap();
        }
        assert_eq!(world.pools.free_slots("main").await.unwrap(), SLOTS);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_claims_for_one_ticket_get_one_slot() {
    let world = World::new(2).await;
    world.warm().await;
    for _ in 0..20 {
        let claim = || {
            let pools = world.pools.clone();
            tokio::spawn(async move { pools.claim(Holder::Ticket("MC-1".to_owned()), "main", LONG).await })
        };
        let (a, b) = (claim(), claim());
        let (a, b) = (a.await.unwrap(), b.await.unwrap());
        let (won, lost) = if a.is_ok() { (a, b) } else { (b, a) };
        assert!(matches!(lost, Err(ClaimError::AlreadyLeased { .. })), "{lost:?}");
        world.pools.release(won.unwrap().lease).await.unwrap();
    }
}
