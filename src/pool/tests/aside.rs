//! What was set aside goes in the end, and nothing that only it had goes with it.

use super::*;
use crate::pool::KeepAside;

const ALL: KeepAside = KeepAside { age: Duration::ZERO, count: 0 };

fn now_ms() -> i64 {
    Clock::system().wall_ms()
}

/// A slot that could not be cleaned lies aside, with unsaved work in it; its path.
async fn with_one_aside(world: &World) -> PathBuf {
    world.warm().await;
    let lock = world.admin(0).join("index.lock");
    write(&world.slot(0), "README", "unsaved\n");
    write(&world.slot(0), "new.txt", "new\n");
    fs::write(&lock, "").unwrap();
    let mut there = Command::new("/bin/sleep").arg("60").current_dir(world.slot(0)).spawn().unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.claim("MC-1").await;
    assert_eq!(world.pools.sweep_aside(ALL, now_ms()).await, 0, "somebody is in it");
    there.kill().unwrap();
    there.wait().unwrap();
    let mut found = fs::read_dir(world.path("slots/.aside")).unwrap();
    found.next().unwrap().unwrap().path()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unsaved_in_it_is_in_a_ref_before_it_goes() {
    let world = World::new(1).await;
    let aside = with_one_aside(&world).await;
    let young = KeepAside { age: Duration::from_secs(3600), count: 5 };
    assert_eq!(world.pools.sweep_aside(young, now_ms()).await, 0);
    assert!(aside.exists());
    assert_eq!(world.pools.sweep_aside(ALL, now_ms()).await, 1);
    assert!(!aside.exists());
    let rescued = world.rescues();
    let kept = rescued.iter().find(|name| name.contains("/aside/")).unwrap();
    assert_eq!((world.show(kept, "README"), world.show(kept, "new.txt")), ("unsaved".into(), "new".into()));
    assert!(!world.git("repo", &["worktree", "list"]).contains(".aside"));
    world.assert_clean(&world.slot(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_look_into_stays() {
    let world = World::new(1).await;
    let aside = with_one_aside(&world).await;
    fs::write(aside.join(".git"), "gitdir: /nowhere\n").unwrap();
    let admin = fs::read_dir(world.repo().join(".git/worktrees")).unwrap().flatten();
    for entry in admin.filter(|entry| entry.path().join("index.lock").exists()) {
        fs::remove_dir_all(entry.path()).unwrap();
    }
    write(&world.path("slots/.aside"), "mine/notes.txt", "a person's own\n");
    assert_eq!(world.pools.sweep_aside(ALL, now_ms()).await, 0);
    assert!(aside.join("new.txt").exists() && world.path("slots/.aside/mine/notes.txt").exists());
}
