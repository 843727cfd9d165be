//! Every named failpoint of the source with a crash, an error and a stall, under one busy day; and the n-th call
//! of each kind that fails. The list is read from the source, so that a new point cannot be forgotten, and a point
//! that nothing passed is a failure.
//!
//! `LUCID_FAILPOINTS_SEED` plays a sweep again; `LUCID_FAILPOINTS=a.b:abort,c.d:stall:3` plays orders by themselves.

mod nth;
mod stage;
mod story;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::storm::{Dice, number};
use stage::{Order, Stage};

/// Failpoints that there are at least.
const POINTS_MIN: usize = 40;
/// Orders of one day in the sweep that each `cargo test` brings.
const ORDERS: usize = 12;
/// Orders of one day in the sweep that is run by name.
const ORDERS_FULL: usize = 6;
/// Days that are lived beside each other: most of a day is waiting.
const DAYS_AT_ONCE: usize = 4;

const ACTIONS: [&str; 4] = ["abort", "error", "refuse", "stall"];
/// What can happen where nothing can fail.
const MERE: [&str; 2] = ["abort", "stall"];
/// The latest visit at which an order is carried out; half of them are for the first one.
const VISIT_MAX: u64 = 12;

/// The failpoints of the source by name, and whether each can fail there, or only die or stall.
fn points() -> BTreeMap<String, bool> {
    let (mut found, mut uses) = (BTreeMap::new(), 0);
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            for (word, can_fail) in [("failpoint::hit(", true), ("failpoint::pass(", false)] {
                for (at, _) in text.match_indices(word) {
                    uses += 1;
                    let name = text[at + word.len()..]
                        .trim_start()
                        .strip_prefix('"')
                        .and_then(|n| n.split('"').next());
                    let name =
                        name.unwrap_or_else(|| panic!("{}: a name that is no literal", path.display()));
                    assert!(found.insert(name.to_owned(), can_fail).is_none(), "`{name}` twice");
                }
            }
        }
    }
    assert_eq!(found.len(), uses);
    assert!(uses >= POINTS_MIN, "only {uses} failpoints");
    found
}

/// Lives a day for each batch of orders, and sees to it that every point was passed by somebody. What one order brings
/// about may keep the day from the point of another: those have a day of their own.
fn sweep(orders: &[Order], a_day: usize) {
    let batches: Vec<Vec<Order>> = orders.chunks(a_day).map(<[Order]>::to_vec).collect();
    let mut lived = live_all(&batches);
    let missed: Vec<Vec<Order>> =
        std::mem::take(&mut lived.missed).into_iter().map(|order| vec![order]).collect();
    let again = live_all(&missed);
    lived.visited.extend(again.visited);
    lived.failures.extend(again.failures);
    assert!(lived.failures.is_empty(), "play these again:\n{}", lived.failures.join("\n"));
    assert!(again.missed.is_empty(), "nothing comes by to carry out {:?}", again.missed);
    let forgotten: Vec<String> =
        points().into_keys().filter(|point| !lived.visited.contains(point)).collect();
    assert!(forgotten.is_empty(), "nothing passes {forgotten:?}");
}

/// What came of some days.
#[derive(Default)]
struct Lived {
    visited: BTreeSet<String>,
    missed: Vec<Order>,
    /// How to play a day again that went wrong.
    failures: Vec<String>,
}

fn live_all(batches: &[Vec<Order>]) -> Lived {
    let (next, lived) = (AtomicUsize::new(0), Mutex::new(Lived::default()));
    std::thread::scope(|scope| {
        for _ in 0..DAYS_AT_ONCE {
            scope.spawn(|| {
                while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let day = std::panic::catch_unwind(|| {
                        let mut stage = Stage::new(batch.clone());
                        story::live(&mut stage);
                        (stage.visited(), stage.unpassed())
                    });
                    let mut lived = lived.lock().expect("a list");
                    match day {
                        Ok((visited, missed)) => {
                            lived.visited.extend(visited);
                            lived.missed.extend(missed);
                        }
                        Err(_) => lived.failures.push(replay(batch)),
                    }
                }
            });
        }
    });
    lived.into_inner().expect("a list")
}

fn replay(orders: &[Order]) -> String {
    let orders: Vec<String> =
        orders.iter().map(|order| format!("{}:{}:{}", order.point, order.action, order.visit)).collect();
    format!("LUCID_FAILPOINTS={}", orders.join(","))
}

fn shuffled<T>(mut all: Vec<T>, dice: &mut Dice) -> Vec<T> {
    for last in (1..all.len()).rev() {
        let other = usize::try_from(dice.below(last as u64 + 1)).expect("an index");
        all.swap(last, other);
    }
    all
}

fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time");
    let seed = number("LUCID_FAILPOINTS_SEED").unwrap_or(u64::from(now.subsec_nanos()) | 1);
    println!("LUCID_FAILPOINTS_SEED={seed}");
    seed
}

fn order(point: &str, action: &'static str) -> Order {
    Order { point: point.to_owned(), action, visit: 1 }
}

/// `point:action` or `point:action:visit`.
fn parse(text: &str, known: &BTreeMap<String, bool>) -> Order {
    let mut words = text.split(':');
    let (point, action) = (words.next().expect("a point"), words.next().expect("an action"));
    assert!(known.contains_key(point), "there is no {point}");
    let action = ACTIONS.into_iter().find(|known| *known == action).expect("an action");
    let visit = words.next().map_or(1, |visit| visit.parse().expect("a visit"));
    Order { visit, ..order(point, action) }
}

#[test]
fn every_failpoint_once_leaves_one_story() {
    if let Ok(text) = std::env::var("LUCID_FAILPOINTS") {
        let known = points();
        let orders = text.split(',').map(|order| parse(order, &known)).collect();
        story::live(&mut Stage::new(orders));
        return;
    }
    let mut dice = Dice(seed());
    let orders = points().into_iter().map(|(point, can_fail)| {
        let actions: &[&'static str] = if can_fail { &ACTIONS } else { &MERE };
        let visit = if dice.below(2) == 0 { 1 } else { 1 + dice.below(VISIT_MAX) };
        let visit = u32::try_from(visit).expect("a visit");
        Order { visit, ..order(&point, dice.one_of(actions).expect("an action")) }
    });
    let orders = orders.collect();
    sweep(&shuffled(orders, &mut dice), ORDERS);
}

#[test]
#[ignore = "minutes long: run it by name"]
fn every_failpoint_in_every_way_leaves_one_story() {
    let mut dice = Dice(seed());
    for action in ACTIONS {
        let mut all = points();
        all.retain(|_, can_fail| *can_fail || MERE.contains(&action));
        let orders: Vec<Order> = all.keys().map(|point| order(point, action)).collect();
        let (total, began) = (orders.len(), std::time::Instant::now());
        sweep(&shuffled(orders, &mut dice), ORDERS_FULL);
        println!("{action}: {total} points in {:?}", began.elapsed());
    }
}
