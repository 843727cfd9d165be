//! Starting a child without copying the process that starts it.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use super::{Fork, exit_now, fork};

/// As linux/sched.h has it; the libc crate's own is an int, into which it does not fit.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Starts a child that runs `body`, and returns its pid when `body` has become another program or has ended.
///
/// The child may share our memory until then, while we stand still: `body` makes system calls, changes nothing that
/// we go on to use, and becomes another program; if it comes back, the child ends with what it returned. The caller
/// has one thread, and handlers for none of its signals.
///
/// It is born in `cgroup`, where that can be: to move a process that exists costs some ten milliseconds, during
/// which no other can start; to be born there costs nothing. A cgroup that cannot be entered (an old kernel, a filter,
/// a limit) is done without.
///
/// # Errors
/// There can be no more processes.
pub fn spawn(cgroup: Option<BorrowedFd<'_>>, body: &dyn Fn() -> i32) -> io::Result<i32> {
    let without = || clone3(None, body).or_else(|_| copy(body));
    match cgroup {
        Some(cgroup) => clone3(Some(cgroup), body).or_else(|_| without()),
        None => without(),
    }
}

/// What no kernel and no filter refuses.
fn copy(body: &dyn Fn() -> i32) -> io::Result<i32> {
    match fork()? {
        Fork::Child => exit_now(body()),
        Fork::Parent(pid) => Ok(pid),
    }
}

fn arguments(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<libc::clone_args> {
    // SAFETY: all its fields are numbers, for which zero means that they are not used.
    let mut arguments = unsafe { std::mem::zeroed::<libc::clone_args>() };
    arguments.flags = flags;
    arguments.exit_signal = libc::SIGCHLD as u64;
    if let Some(cgroup) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::try_from(cgroup.as_raw_fd()).map_err(io::Error::other)?;
    }
    Ok(arguments)
}

/// The child has our memory, on a stack of its own, and we wait: a copy's page tables, and the faults with which both
/// sides go on afterwards, cost more than everything else about a short run.
///
/// In assembler, because the C library's own wrapper of this call is not public, and a function that returns in two
/// processes on one stack cannot be written in a language with a stack.
#[cfg(target_arch = "x86_64")]
fn clone3(cgroup: Option<BorrowedFd<'_>>, body: &dyn Fn() -> i32) -> io::Result<i32> {
    /// Of our own stack, well below what we use: we stand still meanwhile.
    const STACK_BYTES: u64 = 256 * 1024;
    const GAP_BYTES: u64 = 512;

    extern "C" fn enter(body: *const &dyn Fn() -> i32) -> ! {
        // SAFETY: it is the reference below, which lives until the child is another program or none.
        exit_now(unsafe { *body }())
    }

    let mut arguments = arguments((libc::CLONE_VM | libc::CLONE_VFORK) as u64, cgroup)?;
    arguments.stack_size = STACK_BYTES;
    let result: i64;
    // SAFETY: the parent's registers and stack are as they were, save what is named: the kernel keeps all but rax, rcx
    // and r11. The child never comes back out: it starts on an aligned stack that the parent does not use meanwhile,
    // and `enter` does not return.
    unsafe {
        std::arch::asm!(
            "mov rcx, rsp",
            "and rcx, -16",
            "sub rcx, {gap}",
            "mov [rdi + {stack}], rcx",
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r8",
            "call r9",
            "ud2",
            "2:",
            gap = const GAP_BYTES + STACK_BYTES,
            stack = const std::mem::offset_of!(libc::clone_args, stack),
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") &raw mut arguments,
            in("rsi") size_of::<libc::clone_args>(),
            in("r8") &raw const body,
            in("r9") enter as extern "C" fn(*const &dyn Fn() -> i32) -> !,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    let result = i32::try_from(result).map_err(io::Error::other)?;
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result) }
}

/// The child goes on here, on a copy.
#[cfg(not(target_arch = "x86_64"))]
fn clone3(cgroup: Option<BorrowedFd<'_>>, body: &dyn Fn() -> i32) -> io::Result<i32> {
    let arguments = arguments(0, cgroup)?;
    // SAFETY: as for `fork`. The arguments live through the call, and their size is theirs.
    let result =
        unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) };
    match i32::try_from(result).map_err(io::Error::other)? {
        -1 => Err(io::Error::last_os_error()),
        0 => exit_now(body()),
        pid => Ok(pid),
    }
}
