//! What the allocator keeps, and how the kernel maps the program's file.

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;

use libc::c_int;
use rustix::ioctl::{Updater, ioctl, opcode};
use rustix::mm::{UserfaultfdFlags, userfaultfd};

/// Returns to the system what the heap holds and does not use, in all its arenas. Takes some milliseconds.
#[cfg(target_env = "gnu")]
pub fn trim_heap() {
    // SAFETY: may be called from any thread at any time, and takes the locks it needs.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators do it by themselves.
#[cfg(not(target_env = "gnu"))]
pub fn trim_heap() {}

/// Drops a mapped stretch of the process from its resident memory, to come back from its file when it is used.
pub fn unmap_until_used(range: &Range<usize>) {
    let start = std::ptr::with_exposed_provenance_mut::<libc::c_void>(range.start);
    // SAFETY: the caller names pages that are a file's, unwritable and unchanged, so the kernel shows the same bytes
    // again at the next touch. A stretch that is gone by now only returns an error.
    unsafe { libc::madvise(start, range.len(), libc::MADV_DONTNEED) };
}

/// Two arenas instead of eight for each processor, and every large block on its own, so that it goes back when it
/// is freed. To be called before there are threads.
#[cfg(target_env = "gnu")]
pub fn spare_heap() {
    const ARENAS_MAX: c_int = 2;
    const MMAP_FROM_BYTES: c_int = 128 * 1024;
    // SAFETY: only sets parameters of the allocator; one that it does not take changes nothing.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS_MAX);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_FROM_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, MMAP_FROM_BYTES);
    }
}

/// Other allocators are frugal by themselves.
#[cfg(not(target_env = "gnu"))]
pub fn spare_heap() {}

/// Stretches of the program that the kernel maps one page at a time, as they are touched, for as long as this lives.
///
/// Left alone it maps the fifteen neighbours of each page too, when they are in its cache; of a large program with its
/// busy functions far apart that is six times what is ever run. Whoever watches a mapping for writes wants to hear of
/// each page, so those the kernel maps singly (`should_fault_around` in its mm/memory.c). Nothing is protected here
/// and these stretches cannot be written to, so there is nothing to hear, and nobody ever waits for an answer.
#[derive(Debug)]
pub struct PageByPage(OwnedFd);

/// `struct uffdio_api` of linux/userfaultfd.h.
#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

/// `struct uffdio_register` of linux/userfaultfd.h.
#[repr(C)]
struct Register {
    start: u64,
    length: u64,
    mode: u64,
    ioctls: u64,
}

impl PageByPage {
    /// # Errors
    /// A kernel before 6.7, or a filter that does not let it through.
    pub fn new() -> io::Result<Self> {
        const USER_MODE_ONLY: u32 = 1;
        const API: u64 = 0xAA;
        /// The only form that takes the mappings of ordinary files.
        const WRITE_PROTECT_ASYNC: u64 = 1 << 15;
        let flags = UserfaultfdFlags::CLOEXEC | UserfaultfdFlags::from_bits_retain(USER_MODE_ONLY);
        // SAFETY: no stretch is registered for missing pages, so none ever waits for an answer.
        let fd = unsafe { userfaultfd(flags) }?;
        let mut api = Api { api: API, features: WRITE_PROTECT_ASYNC, ioctls: 0 };
        // SAFETY: number and layout are those of UFFDIO_API.
        unsafe { ioctl(&fd, Updater::<{ opcode::read_write::<Api>(0xAA, 0x3F) }, Api>::new(&mut api)) }?;
        Ok(Self(fd))
    }

    /// # Errors
    /// What is mapped there is nothing that can be watched.
    pub fn add(&self, range: &Range<usize>) -> io::Result<()> {
        const WRITE_PROTECT: u64 = 2;
        let (start, length) = (range.start as u64, range.len() as u64);
        let mut register = Register { start, length, mode: WRITE_PROTECT, ioctls: 0 };
        const REGISTER: rustix::ioctl::Opcode = opcode::read_write::<Register>(0xAA, 0);
        // SAFETY: number and layout are those of UFFDIO_REGISTER; a stretch that is gone by now only returns an error.
        Ok(unsafe { ioctl(&self.0, Updater::<REGISTER, Register>::new(&mut register)) }?)
    }
}
