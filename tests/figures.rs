//! Figures that this project is held to, as ratios against a peer in the same run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "figures are read by people")]

#[path = "bench/pool.rs"]
mod pool;

/// Claims against `git worktree add --detach`: untouched, with 50 dirty files, after the base moved by 200.
const CLAIM_LIMITS: [f64; 3] = [0.1, 0.3, 0.3];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures; wants a quiet machine and half a minute: cargo test --release --test figures -- --ignored"]
async fn claims_cost_a_fraction_of_a_new_worktree() {
    let figures = pool::claims(20_000, 3).await;
    let ratios = figures.ratios();
    println!("{figures:?}\nratios: {ratios:.3?}, at most {CLAIM_LIMITS:?}");
    for (ratio, limit) in ratios.into_iter().zip(CLAIM_LIMITS) {
        assert!(ratio <= limit, "{ratio:.3} is more than {limit}");
    }
}
