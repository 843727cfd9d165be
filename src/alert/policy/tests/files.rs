//! What files that change together lead to.

use super::*;

#[test]
fn what_many_files_have_in_common_ends_for_each_of_them() {
    let subjects = |kind, data| -> Vec<String> {
        let judged = judge(&recorded(Event::new(kind).data(data)), &Facts::None);
        let ended = judged.into_iter().filter_map(|verdict| match verdict {
            Verdict::Clear(over) => Some(over.subject),
            Verdict::Raise(_) | Verdict::Brief { .. } => None,
        });
        ended.collect()
    };
    let two = json!({"count": 2, "tasks": ["a", "b"]});
    assert_eq!(subjects(EventKind::TaskMended, two.clone()), ["file:a", "file:b"]);
    assert_eq!(subjects(EventKind::TaskRemoved, two), ["file:a", "task:a", "file:b", "task:b"]);
    assert!(subjects(EventKind::TaskRemoved, json!({"count": 2})).is_empty());
}
