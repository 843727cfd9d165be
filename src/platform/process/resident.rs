//! Memory that is held and not needed: holes in the heap, and code that only starting ran.
//!
//! The kernel maps the program's pages as they are first run, sixteen at a time, and a process that has started keeps
//! them all mapped. They are the file's own, unchanged; what is still needed comes back from the page cache with a
//! fault that reads no disk, and then page by page, so that what is mapped is what is used.

use std::ops::Range;
use std::sync::OnceLock;
use std::{fs, io};

use super::sys::{self, PageByPage};

/// Gives the system what the process holds and does not use. Takes some milliseconds.
///
/// # Errors
/// When the process may not read what it has mapped; the heap has been trimmed by then.
pub fn give_memory_back() -> io::Result<()> {
    sys::trim_heap();
    let program = fs::read_link("/proc/self/exe")?;
    // For as long as the process lives; where the kernel cannot, pages come back with their neighbours.
    static BY_PAGE: OnceLock<Option<PageByPage>> = OnceLock::new();
    let by_page = BY_PAGE.get_or_init(|| PageByPage::new().ok());
    for range in unchanged(&fs::read_to_string("/proc/self/smaps")?, &program.to_string_lossy()) {
        if let Some(by_page) = by_page {
            // A stretch that it does not take stays as it is.
            let _ = by_page.add(&range);
        }
        sys::unmap_until_used(&range);
    }
    Ok(())
}

/// The stretches of `smaps` that are of the program or a library, cannot be written to, and of which no page was
/// changed: relocated data is read-only by now but exists only in memory, and must stay. Other files' mappings come
/// and go, and in their place may be something else by the time it is given back.
fn unchanged(smaps: &str, program: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        if let Some(range) = mapping(line, program) {
            candidate = range;
        } else if let Some(held) = line.strip_prefix("Anonymous:") {
            candidate = candidate.filter(|_| held.trim() == "0 kB");
        } else if let Some(swapped) = line.strip_prefix("Swap:") {
            // A changed page that was swapped out is no longer counted as held.
            found.extend(candidate.take().filter(|_| swapped.trim() == "0 kB"));
        }
    }
    found
}

/// What a mapping's first line says: none when it is another line, `Some(None)` when it is a mapping to leave alone.
fn mapping(line: &str, program: &str) -> Option<Option<Range<usize>>> {
    let mut words = line.split_whitespace();
    let (from, to) = words.next()?.split_once('-')?;
    let range = usize::from_str_radix(from, 16).ok()?..usize::from_str_radix(to, 16).ok()?;
    let rights = words.next()?;
    let path = words.skip(3).collect::<Vec<_>>().join(" ");
    let library = path.starts_with('/') && path.contains(".so");
    let ours = (path == program || library) && rights.starts_with('r') && !rights.contains(['w', 's']);
    Some(ours.then_some(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unchanged_pages_of_files_are_given_back() {
        let with = |first: &str, anonymous: &str, swap: &str| {
            format!("{first}\nRss: 4 kB\nAnonymous:  {anonymous} kB\nSwap:  {swap} kB\nVmFlags: rd ex\n")
        };
        let of = |first: &str, anonymous: &str| with(first, anonymous, "0");
        let smaps = [
            of("1000-2000 r-xp 00000000 fe:00 7 /usr/bin/lucid", "0"),
            of("2000-3000 r--p 00000000 fe:00 7 /usr/bin/lucid", "4"),
            of("3000-4000 rw-p 00000000 fe:00 7 /usr/bin/lucid", "0"),
            of("4000-5000 rw-p 00000000 00:00 0", "0"),
            of("5000-6000 r-xp 00000000 00:00 0 [vdso]", "0"),
            of("6000-7000 r--s 00000000 fe:00 8 /var/lib/lucid/lucid.db-shm", "0"),
            of("7000-8000 r--p 00000000 fe:00 9 /usr/lib/libc.so.6", "0"),
            with("9000-a000 r--p 00000000 fe:00 9 /usr/lib/libz.so.1", "0", "4"),
            of("8000-9000 r--p 00000000 fe:00 9 /srv/repo/.git/objects/pack/pack-1.idx", "0"),
        ]
        .concat();
        assert_eq!(unchanged(&smaps, "/usr/bin/lucid"), [0x1000..0x2000, 0x7000..0x8000]);
        let libc = 0x7000..0x8000;
        assert_eq!(unchanged(&smaps, "/usr/bin/lucid (deleted)"), std::slice::from_ref(&libc));
    }

    #[test]
    fn code_runs_on_after_it_was_given_back() {
        give_memory_back().unwrap();
        assert_eq!("still here".to_uppercase(), "STILL HERE");
    }
}
