//! A question to the daemon, at its socket and as a whole process.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::figures::{Pace, quantile, spread};
use crate::world::World;

const CALLS: u32 = 300;
const PROCESSES: u32 = 40;
const AT_REST: Duration = Duration::from_secs(5);

fn timed(count: u32, mut call: impl FnMut()) -> Vec<f64> {
    (0..count)
        .map(|_| {
            let begun = Instant::now();
            call();
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect()
}

pub fn calls(_: Pace) {
    let (mut ours, mut theirs) = UnixStream::pair().expect("a pair");
    let echo = std::thread::spawn(move || {
        let mut block = [0; 512];
        while let Ok(read @ 1..) = theirs.read(&mut block) {
            theirs.write_all(&block[..read]).expect("echoed");
        }
    });
    let mut block = [0; 64];
    let floor = timed(CALLS, || {
        ours.write_all(&[b'x'; 64]).expect("sent");
        ours.read_exact(&mut block).expect("heard");
    });
    drop(ours);
    echo.join().expect("ended");
    println!("floor, an echo over a socket pair: ms {} (target for a call ≤ 2 ms)", spread(floor));
    for tasks in [10, 10_000] {
        let mut world = World::with("");
        world.sleepers(tasks);
        world.serve();
        // What ten thousand new files bring with them is written down beside the first seconds.
        std::thread::sleep(AT_REST);
        let mut line = world.line();
        for path in ["/healthz", "/api/v1/status", "/api/v1/tasks/job-00005"] {
            timed(CALLS / 10, || drop(line.get(path)));
            println!("{tasks} tasks, GET {path}: ms {}", spread(timed(CALLS, || drop(line.get(path)))));
        }
        let fresh = timed(CALLS, || drop(world.line().get("/healthz")));
        println!("{tasks} tasks, GET /healthz on a connection of its own: ms {}", spread(fresh));
    }
}

pub fn status(_: Pace) {
    let mut floor = timed(PROCESSES, || {
        Command::new("/bin/true").stdin(Stdio::null()).status().expect("ran");
    });
    let floor = quantile(&mut floor, 0.5);
    for tasks in [10, 10_000] {
        let mut world = World::with("");
        world.sleepers(tasks);
        world.serve();
        let mut took = timed(PROCESSES, || {
            assert!(world.command(&["status"]).status().expect("ran").success());
        });
        let took = quantile(&mut took, 0.5);
        println!(
            "{tasks} tasks: `lucid status` {took:.1} ms as a whole process (target ≤ 15 ms), {:.1} × /bin/true \
             ({floor:.1} ms)",
            took / floor
        );
    }
}
