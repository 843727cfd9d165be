//! "Did you mean": the nearest of some names.

/// The name nearest to `word`, when it is near enough to be what was meant: one letter wrong, missing,
/// too many or swapped in every three.
#[must_use]
pub fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let letters = word.chars().count();
    // Each letter too many is an edit, so most names need no look at their letters.
    let may_be_near = |name: &str| {
        let others = name.chars().count();
        letters.abs_diff(others) * 3 <= letters.max(others)
    };
    names
        .into_iter()
        .filter(|name| may_be_near(name))
        .map(|name| (distance(&word, &name.to_lowercase()), name))
        .filter(|(distance, name)| distance * 3 <= letters.max(name.chars().count()))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Letters to insert, delete, replace or swap with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, other) in b.iter().enumerate() {
            let replaced = last[j] + usize::from(letter != other);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *letter == b[j - 1] && a[i - 1] == *other {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_is_near_and_far_is_nothing() {
        let names = ["scheduler.tick", "scheduler.rescan", "log.level", "root"];
        assert_eq!(nearest("scheduler.tik", names), Some("scheduler.tick"));
        assert_eq!(nearest("sheduler.tick", names), Some("scheduler.tick"));
        assert_eq!(nearest("LOG.LEVLE", names), Some("log.level"));
        assert_eq!(nearest("rot", names), Some("root"));
        assert_eq!(nearest("pools", names), None);
        assert_eq!(nearest("", names), None);
        assert_eq!(nearest(&"scheduler.tick".repeat(4), names), None);
    }

    #[test]
    fn a_swap_of_neighbours_is_one_step() {
        assert_eq!(distance("tick", "tikc"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
