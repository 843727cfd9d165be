//! Ten thousand task files: how long until they are known, and until the daemon is ready with them.

use std::fs;
use std::time::Instant;

use lucid::task::{Defaults, Known, Registry, Rules};

use crate::figures::Pace;
use crate::world::World;

const FILES: u32 = 10_000;

pub fn load(_: Pace) {
    let mut world = World::with("");
    world.sleepers(FILES);
    let begun = Instant::now();
    let mut bytes = 0;
    for entry in fs::read_dir(world.path("tasks")).expect("tasks/") {
        bytes += fs::read(entry.expect("a file").path()).expect("its bytes").len();
    }
    let floor = begun.elapsed().as_secs_f64();

    let rules = Rules { defaults: Defaults::default(), known: Known::default() };
    let mut registry = Registry::new(world.path("tasks"), rules);
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let begun = Instant::now();
    registry.reload(now_ms);
    let whole = begun.elapsed().as_secs_f64();
    assert_eq!(registry.snapshot().enabled, FILES as usize);
    let begun = Instant::now();
    registry.reload(now_ms + 60_000);
    let again = begun.elapsed().as_secs_f64();
    let first = world.serve().as_secs_f64();
    world.stop();
    let second = world.serve().as_secs_f64();

    println!("{FILES} files, {bytes} bytes; floor, reading them all: {floor:.3} s");
    println!("the registry alone {whole:.3} s ({:.1} × the floor), unchanged {again:.3} s", whole / floor);
    println!("serve to READY=1: first start {first:.3} s, second {second:.3} s (target ≤ 1 s)");
}
