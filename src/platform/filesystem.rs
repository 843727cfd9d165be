//! What the file system of a folder is, and whether it is full.

use std::io;
use std::path::Path;

/// Below this many free bytes a failing write is blamed on the disk.
const FULL_BELOW_BYTES: u64 = 1 << 20;

/// How far a file system can be trusted to share its locks and its memory, and to tell of every change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Local,
    /// May be local or not, depending on what serves it.
    Doubtful(&'static str),
    Network(&'static str),
}

/// Magic numbers of statfs(2) for file systems that others may change from elsewhere.
const NETWORK: [(u64, &str); 11] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0xFE53_4D42, "SMB2"),
    (0x0102_1997, "9P"),
    (0x5346_414F, "AFS"),
    (0x00C3_6400, "Ceph"),
    (0x0BD0_0BD0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x7375_7245, "Coda"),
    (0x7461_636F, "OCFS2"),
];
/// Likewise, for those that are served by another program or machine in one way or another.
const DOUBTFUL: [(u64, &str); 6] = [
    (0x6573_5546, "FUSE"),
    (0x0116_1970, "GFS2"),
    (0x1983_0326, "BeeGFS"),
    (0x2003_0528, "OrangeFS"),
    (0x786F_4256, "a VirtualBox shared folder"),
    (0xBACB_ACBC, "a VMware shared folder"),
];

/// What `dir` lies on.
///
/// # Errors
/// What the file system says.
pub fn kind(dir: &Path) -> io::Result<Kind> {
    // The field is signed on some targets; only its low 32 bits carry the number.
    #[allow(clippy::cast_sign_loss)]
    let magic = rustix::fs::statfs(dir)?.f_type as u64 & 0xFFFF_FFFF;
    Ok(kind_of(magic))
}

fn kind_of(magic: u64) -> Kind {
    let named = |list: &[(u64, &'static str)]| {
        list.iter().find(|(number, _)| *number == magic).map(|(_, name)| *name)
    };
    match (named(&NETWORK), named(&DOUBTFUL)) {
        (Some(name), _) => Kind::Network(name),
        (None, Some(name)) => Kind::Doubtful(name),
        (None, None) => Kind::Local,
    }
}

/// Bytes that we may still write.
///
/// # Errors
/// What the file system says.
pub fn free_bytes(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// How much of the file system of `path` anybody may still write, in percent of what they could ever.
///
/// # Errors
/// What the file system says.
pub fn free_percent(path: &Path) -> io::Result<u32> {
    let stat = rustix::fs::statvfs(path)?;
    // What is reserved for root is neither free nor ours to use.
    let usable = (stat.f_blocks - stat.f_bfree).saturating_add(stat.f_bavail);
    let percent = stat.f_bavail.saturating_mul(100).checked_div(usable).unwrap_or(0);
    Ok(u32::try_from(percent).unwrap_or(100).min(100))
}

/// Whether a write that failed in `dir` is to be blamed on its being full.
#[must_use]
pub fn is_full(dir: &Path) -> bool {
    free_bytes(dir).is_ok_and(|free| free < FULL_BELOW_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_told_by_their_number() {
        assert_eq!(kind_of(0x6969), Kind::Network("NFS"));
        assert_eq!(kind_of(0x0102_1997), Kind::Network("9P"));
        assert_eq!(kind_of(0xFF53_4D42), Kind::Network("CIFS"));
        assert_eq!(kind_of(0x6573_5546), Kind::Doubtful("FUSE"));
        for local in [0xEF53, 0x0102_1994, 0x794C_7630, 0x9123_683E, 0x5846_5342] {
            assert_eq!(kind_of(local), Kind::Local, "{local:x}");
        }
    }
}
