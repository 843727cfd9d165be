//! Rows of workers and profiles on a real database.

use super::*;
use crate::store::{Store, StoreError, Tx};

struct World {
    store: Store,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { store: Store::open(dir.path(), 0).unwrap().store, _dir: dir }
    }

    fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&Tx<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        self.store.write_blocking(work).unwrap()
    }
}

#[test]
fn no_time_ends_what_a_person_is_to_end() {
    let world = World::new();
    let limit = Some(500);
    assert!(world.write(move |tx| Ok(rest(tx, "fake", limit, "limit", 1)?)));
    assert!(world.write(|tx| Ok(rest(tx, "fake", None, "auth", 2)?)), "a cool-down gives way");
    assert!(!world.write(move |tx| Ok(rest(tx, "fake", limit, "limit", 3)?)));
    assert_eq!(world.write(|tx| Ok(end_rests(tx, 1_000)?)), Vec::<String>::new());
    let resting = world.write(|tx| Ok(resting(tx, 1_000)?));
    assert_eq!(resting["fake"], Standing::Disabled { reason: "auth".to_owned() });
    assert!(world.write(|tx| Ok(wake(tx, "fake")?)));
    assert!(world.write(move |tx| Ok(rest(tx, "fake", limit, "limit", 4)?)));
}
