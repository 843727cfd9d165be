//! Ten thousand task files: how long until they are known, and until the daemon is ready with them.

use std::fs;
use std::process::Stdio;
use std::time::Instant;

use crate::figures::{Pace, cpu_seconds};
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

    let begun = Instant::now();
    let checked = world.command(&["check"]).stderr(Stdio::piped()).output().expect("ran");
    assert!(checked.status.success(), "{}: {}", checked.status, String::from_utf8_lossy(&checked.stderr));
    let alone = begun.elapsed().as_secs_f64();
    println!("{FILES} files, {bytes} bytes; floor, reading them all: {floor:.3} s");
    println!("the registry alone, `lucid check`: {alone:.3} s, {:.1} × the floor", alone / floor);
    for start in ["first", "second"] {
        let ready = world.serve().as_secs_f64();
        let spent = cpu_seconds(world.pid());
        println!("{start} start: READY=1 after {ready:.3} s (target ≤ 1 s), {spent:.3} s of processor");
        world.stop();
    }
}
