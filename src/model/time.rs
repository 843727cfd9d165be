//! Lengths of time as the database, the wire and a keeper's orders hold them: whole milliseconds. What is longer
//! than the number can say is as long as it can say.

use std::time::Duration;

/// For a database or a wall clock, whose numbers have a sign.
#[must_use]
pub fn millis(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

/// For a keeper, whose limits have none.
#[must_use]
pub fn millis_unsigned(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_dropped_and_the_longest_stays_the_longest() {
        let length = Duration::from_micros(1_999);
        assert_eq!((millis(length), millis_unsigned(length)), (1, 1));
        assert_eq!((millis(Duration::MAX), millis_unsigned(Duration::MAX)), (i64::MAX, u64::MAX));
    }
}
